"""Messages as a chat template gets them: what vLLM makes of chat messages before it renders (0.32).

The input is a checked body's; nothing of it is changed in place.
"""

import json
from typing import Any

from gateway_hooks.tokens.template import ChatTemplate, Message

_FUNCTION_FIELDS = ("name", "description", "parameters")


def prepared(messages: list[Message], template: ChatTemplate) -> list[Message]:
    conversation = [_message(message, parts=template.parts) for message in messages]
    if template.knows_developer or all(message["role"] != "developer" for message in conversation):
        return conversation
    return _one_system_message([_as_system(message) for message in conversation])


def tool_definitions(functions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As vLLM dumps them: description and parameters always there, ``strict`` only where it was said."""
    definitions = []
    for function in functions:
        definition = {name: function.get(name) for name in _FUNCTION_FIELDS}
        if function.get("strict") is not None:
            definition["strict"] = function["strict"]
        definitions.append({"type": "function", "function": definition})
    return definitions


def _message(message: Message, *, parts: bool) -> Message:
    role = message["role"]
    made: Message = {
        "role": role,
        "content": _content(message.get("content"), parts=parts and role != "tool"),
    }
    if role == "assistant":
        if message.get("tool_calls"):
            made["tool_calls"] = [_tool_call(call) for call in message["tool_calls"]]
        if message.get("reasoning_content") is not None:
            made["reasoning"] = made["reasoning_content"] = message["reasoning_content"]
    elif role == "tool" and "tool_call_id" in message:
        made["tool_call_id"] = message["tool_call_id"]
    if "name" in message:
        made["name"] = message["name"]
    if role == "developer":
        made["tools"] = None
    return made


def _content(content: Any, *, parts: bool) -> Any:
    texts = [content] if isinstance(content, str) else [part["text"] for part in content or ()]
    return [{"type": "text", "text": text} for text in texts] if parts else "\n".join(texts)


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    named = {"arguments": _arguments(function.get("arguments")), "name": function["name"]}
    return {"id": call["id"], "function": named, "type": "function"}


def _arguments(text: str | None) -> dict[str, Any]:
    """A template takes an object; what is none becomes an empty one."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _as_system(message: Message) -> Message:
    if message["role"] != "developer":
        return message
    return {name: value for name, value in message.items() if name != "tools"} | {"role": "system"}


def _one_system_message(messages: list[Message]) -> list[Message]:
    """Many templates want it first and alone."""
    system = [message for message in messages if message["role"] == "system"]
    if len(system) == 1 and messages[0] is system[0]:
        return messages
    contents = [message["content"] for message in system]
    texts = [text if isinstance(text, str) else "\n".join(part["text"] for part in text) for text in contents]
    merged = {"role": "system", "content": "\n\n".join(filter(None, texts))}
    return [merged, *(message for message in messages if message["role"] != "system")]
