"""The three dialects of a conversation, brought to chat messages as whoever translates them does.

Chat goes to the engine as it is. Responses are translated by vLLM, messages by LiteLLM; both keep their
right to change how, so what comes out here is counted with a margin.
"""

import json
from typing import Any, NamedTuple

from gateway_hooks.tokens.messages import tool_definitions
from gateway_hooks.tokens.template import Message

TRANSLATION_MARGIN = 16
MESSAGE_MARGIN = 4
TOOL_MARGIN = 16
"""Tokens per tool and per tool call: the order of members and the writing of numbers in JSON may differ."""


class Conversation(NamedTuple):
    """``margin``: tokens by which the engine's own rendering may exceed this one's."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None
    options: dict[str, Any]
    margin: int


def conversation_of(endpoint_name: str, fields: dict[str, Any]) -> Conversation:
    """``fields`` is a checked body of ``chat.completions``, ``responses`` or ``messages``."""
    translated = True
    if endpoint_name == "responses":
        messages, functions = _responses_messages(fields), fields.get("tools")
        effort = fields.get("reasoning", {}).get("effort")
    elif endpoint_name == "messages":
        messages, functions = _anthropic_messages(fields), _anthropic_functions(fields.get("tools"))
        effort = None
    else:
        messages, translated = list(fields["messages"]), False
        functions = _functions(fields.get("tools"))
        effort = fields.get("reasoning_effort")
    tools = None if functions is None else tool_definitions(functions)
    calls = sum(len(message.get("tool_calls") or ()) for message in messages)
    margin = TOOL_MARGIN * (calls + len(tools or ()))
    if translated:
        margin += TRANSLATION_MARGIN + MESSAGE_MARGIN * len(messages)
    return Conversation(messages, tools, _options(effort), margin)


def _options(effort: str | None) -> dict[str, Any]:
    if effort is None:
        return {}
    return {"reasoning_effort": effort, "enable_thinking": effort != "none"}


def _functions(tools: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    return None if tools is None else [tool["function"] for tool in tools]


def _anthropic_functions(tools: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    return tools and [{**tool, "parameters": tool.get("input_schema")} for tool in tools]


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _responses_messages(fields: dict[str, Any]) -> list[Message]:
    instructions, given = fields.get("instructions"), fields["input"]
    messages: list[Message] = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    spoken: list[Message] = []
    for item in given:
        _add_item(spoken, item)
    return messages + spoken


def _add_item(messages: list[Message], item: dict[str, Any]) -> None:
    """What an assistant said and called in a row is one message."""
    last = messages[-1] if messages and messages[-1]["role"] == "assistant" else None
    kind = item.get("type", "message")
    if kind == "function_call_output":
        output = {"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]}
        messages.append(output)
    elif kind == "function_call":
        call = _call(item["call_id"], item["name"], item["arguments"])
        if last is None:
            messages.append({"role": "assistant", "tool_calls": [call]})
        else:
            last["tool_calls"] = [*last.get("tool_calls", ()), call]
    elif item["role"] == "assistant" and last is not None and "content" not in last:
        last["content"] = item["content"]
    else:
        messages.append({"role": item["role"], "content": item["content"]})


def _anthropic_messages(fields: dict[str, Any]) -> list[Message]:
    messages: list[Message] = []
    if fields.get("system"):
        messages.append({"role": "system", "content": fields["system"]})
    for message in fields["messages"]:
        add = _add_assistant if message["role"] == "assistant" else _add_user
        add(messages, message["content"])
    return messages


def _add_user(messages: list[Message], content: str | list[dict[str, Any]]) -> None:
    """Tool results come first, whatever their place among the texts."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for block in blocks:
        if block["type"] == "tool_result":
            result = {
                "role": "tool",
                "tool_call_id": block["tool_use_id"],
                "content": block.get("content", ""),
            }
            messages.append(result)
    texts = [block for block in blocks if block["type"] == "text"]
    if texts:
        messages.append({"role": "user", "content": texts})


def _add_assistant(messages: list[Message], content: str | list[dict[str, Any]]) -> None:
    if isinstance(content, str):
        messages.append({"role": "assistant", "content": content})
        return
    text = "".join(block["text"] for block in content if block["type"] == "text")
    calls = [
        _call(block["id"], block["name"], json.dumps(block["input"]))
        for block in content
        if block["type"] == "tool_use"
    ]
    messages.append({"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})})
