"""Messages in the three dialects: chat, responses and messages. Text only, and only known members."""

from typing import Any

from gateway_hooks.gateway.body.checks import Check, invalid, json_object, members, one_of, text

MAX_TEXT = 16 * 1024 * 1024
MAX_MESSAGES = 2048
_TEXT = text(MAX_TEXT)
_ID = text(256)


def _list(value: Any, name: str, *, empty: bool = False) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_MESSAGES or not (value or empty):
        raise invalid(name, f"must be a list of 1 to {MAX_MESSAGES} entries")
    return value


def _parts(*types: str) -> Check:
    """A string, or text parts of these types; parts of any other kind are refused."""
    allowed = {"type": one_of(*types), "text": _TEXT, "cache_control": json_object, "annotations": _ignored}

    def check(value: Any, name: str) -> Any:
        if isinstance(value, str):
            return _TEXT(value, name)
        parts = [
            members(entry, f"{name}.{index}", allowed, required=("type", "text"))
            for index, entry in enumerate(_list(value, name, empty=True))
        ]
        return [{"type": part["type"], "text": part["text"]} for part in parts]

    return check


def _ignored(_value: Any, _name: str) -> None:
    return None


def _call_function(value: Any, name: str) -> dict[str, Any]:
    return members(value, name, {"name": _ID, "arguments": _TEXT}, required=("name", "arguments"))


def _tool_calls(value: Any, name: str) -> list[dict[str, Any]]:
    allowed = {"id": _ID, "type": one_of("function"), "function": _call_function, "index": _ignored}
    calls = [
        members(entry, f"{name}.{index}", allowed, required=("id", "function"))
        for index, entry in enumerate(_list(value, name, empty=True))
    ]
    return [{"id": call["id"], "type": "function", "function": call["function"]} for call in calls]


_CHAT_MESSAGE: dict[str, Check] = {
    "role": one_of("system", "developer", "user", "assistant", "tool"),
    "content": _parts("text"),
    "name": _ID,
    "tool_calls": _tool_calls,
    "tool_call_id": _ID,
    "refusal": _ignored,
    "annotations": _ignored,
    "reasoning_content": _TEXT,
}


def chat_messages(value: Any, name: str) -> list[dict[str, Any]]:
    cleaned = []
    for index, entry in enumerate(_list(value, name)):
        message = members(entry, f"{name}.{index}", _CHAT_MESSAGE, required=("role",))
        if message["role"] != "assistant" and "content" not in message:
            at = f"{name}.{index}.content"
            raise invalid(at, "is missing")
        cleaned.append({key: part for key, part in message.items() if part is not None})
    return cleaned


_INPUT_MESSAGE: dict[str, Check] = {
    "type": one_of("message"),
    "role": one_of("system", "developer", "user", "assistant"),
    "content": _parts("input_text", "output_text"),
    "id": _ID,
    "status": _ID,
}
_FUNCTION_CALL: dict[str, Check] = {
    "type": one_of("function_call"),
    "id": _ID,
    "call_id": _ID,
    "name": _ID,
    "arguments": _TEXT,
    "status": _ID,
}
_FUNCTION_OUTPUT: dict[str, Check] = {
    "type": one_of("function_call_output"),
    "id": _ID,
    "call_id": _ID,
    "output": _TEXT,
    "status": _ID,
}


def responses_input(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return _TEXT(value, name)
    return [_input_item(entry, f"{name}.{index}") for index, entry in enumerate(_list(value, name))]


def _input_item(value: Any, name: str) -> dict[str, Any]:
    kind = json_object(value, name).get("type", "message")
    if kind == "message":
        return members(value, name, _INPUT_MESSAGE, required=("role", "content"))
    if kind == "function_call":
        return members(value, name, _FUNCTION_CALL, required=("type", "call_id", "name", "arguments"))
    if kind == "function_call_output":
        return members(value, name, _FUNCTION_OUTPUT, required=("type", "call_id", "output"))
    at = f"{name}.type"
    raise invalid(at, "must be message, function_call or function_call_output")


def system_prompt(value: Any, name: str) -> Any:
    return _parts("text")(value, name)


_BLOCKS: dict[str, tuple[dict[str, Check], tuple[str, ...]]] = {
    "text": (
        {"type": one_of("text"), "text": _TEXT, "cache_control": json_object, "citations": _ignored},
        ("text",),
    ),
    "tool_use": (
        {
            "type": one_of("tool_use"),
            "id": _ID,
            "name": _ID,
            "input": json_object,
            "cache_control": json_object,
        },
        ("id", "name", "input"),
    ),
    "tool_result": (
        {
            "type": one_of("tool_result"),
            "tool_use_id": _ID,
            "content": _parts("text"),
            "is_error": _ignored,
            "cache_control": json_object,
        },
        ("tool_use_id",),
    ),
}


def _blocks(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return _TEXT(value, name)
    return [_block(entry, f"{name}.{index}") for index, entry in enumerate(_list(value, name, empty=True))]


def _block(value: Any, name: str) -> dict[str, Any]:
    kind = json_object(value, name).get("type")
    if not isinstance(kind, str) or kind not in _BLOCKS:
        at = f"{name}.type"
        raise invalid(at, "must be text, tool_use or tool_result")
    allowed, required = _BLOCKS[kind]
    block = members(value, name, allowed, required=required)
    return {key: part for key, part in block.items() if key != "cache_control" and part is not None}


def anthropic_messages(value: Any, name: str) -> list[dict[str, Any]]:
    allowed: dict[str, Check] = {"role": one_of("user", "assistant"), "content": _blocks}
    return [
        members(entry, f"{name}.{index}", allowed, required=("role", "content"))
        for index, entry in enumerate(_list(value, name))
    ]
