"""Checked bodies to count, by endpoint; no count may depend on who translates them."""

from typing import Any

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "What the sky does <now>", "parameters": WEATHER},
}
CALL = {"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Köln"}'}}
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "I am a demo."},
    {"role": "user", "content": 'Grüße, 你好 🙂 <|end|> & "quotes"'},
]
CHAT: dict[str, dict[str, Any]] = {
    "one": {"messages": [{"role": "user", "content": "Who are you?"}]},
    "turns": {"messages": TURNS},
    "parts": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}
        ]
    },
    "named": {"messages": [{"role": "user", "name": "ann", "content": "hello"}]},
    "empty": {"messages": [{"role": "user", "content": ""}]},
    "effort": {"messages": TURNS, "reasoning_effort": "low"},
}
DEVELOPER: dict[str, Any] = {"messages": [{"role": "developer", "content": "Be kind."}, *TURNS]}
WITH_TOOLS: dict[str, dict[str, Any]] = {
    "tools": {"messages": TURNS, "tools": [TOOL], "tool_choice": "none"},
    "calls": {
        "messages": [
            *TURNS,
            {"role": "assistant", "content": "One moment.", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call-1", "content": "sunny"},
        ],
        "tools": [TOOL],
        "tool_choice": "none",
    },
}
COMPLETIONS: dict[str, dict[str, Any]] = {
    "text": {"prompt": "Once upon a time, in Köln 🙂"},
    "ids": {"prompt": [72, 101, 108, 108, 111]},
}
RESPONSES: dict[str, dict[str, Any]] = {
    "text": {"input": "Who are you?", "instructions": "Be brief."},
    "items": {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
            {"type": "message", "role": "assistant", "content": "hi"},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Köln"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
            {"role": "user", "content": "and tomorrow?"},
        ]
    },
    "tools": {"input": "hello", "tools": [{"type": "function", **TOOL["function"]}], "tool_choice": "none"},
}
MESSAGES: dict[str, dict[str, Any]] = {
    "text": {"messages": [{"role": "user", "content": "Who are you?"}], "system": "Be brief."},
    "blocks": {
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "text", "text": "you"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "One moment."},
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Köln"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "and?"},
                    {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"},
                ],
            },
        ],
        "tools": [{"name": "weather", "description": "The sky", "input_schema": WEATHER}],
    },
}
