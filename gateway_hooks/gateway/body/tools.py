"""Function tools and answer formats: JSON schemas by nature, so their frame is checked, not their inside."""

from typing import Any

from gateway_hooks.gateway.body.checks import (
    MAX_TOOLS,
    boolean,
    invalid,
    json_object,
    members,
    one_of,
    text,
)

_NAME = text(128)
_DESCRIPTION = text(16_384)
_FUNCTION = {"name": _NAME, "description": _DESCRIPTION, "parameters": json_object, "strict": boolean}


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_TOOLS:
        raise invalid(name, f"must be a list of at most {MAX_TOOLS} entries")
    return value


def _function(value: Any, name: str) -> dict[str, Any]:
    return members(value, name, _FUNCTION, required=("name",))


def chat_tools(value: Any, name: str) -> list[dict[str, Any]]:
    allowed = {"type": one_of("function"), "function": _function}
    return [
        members(entry, f"{name}.{index}", allowed, required=("type", "function"))
        for index, entry in enumerate(_list(value, name))
    ]


def responses_tools(value: Any, name: str) -> list[dict[str, Any]]:
    allowed = {"type": one_of("function"), **_FUNCTION}
    return [
        members(entry, f"{name}.{index}", allowed, required=("type", "name"))
        for index, entry in enumerate(_list(value, name))
    ]


def messages_tools(value: Any, name: str) -> list[dict[str, Any]]:
    allowed = {
        "type": one_of("custom"),
        "name": _NAME,
        "description": _DESCRIPTION,
        "input_schema": json_object,
        "cache_control": json_object,
    }
    tools = [
        members(entry, f"{name}.{index}", allowed, required=("name", "input_schema"))
        for index, entry in enumerate(_list(value, name))
    ]
    for tool in tools:
        tool.pop("cache_control", None)
        tool.pop("type", None)
    return tools


def chat_tool_choice(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return one_of("none", "auto", "required")(value, name)

    def named(inner: Any, inner_name: str) -> dict[str, Any]:
        return members(inner, inner_name, {"name": _NAME}, required=("name",))

    return members(
        value, name, {"type": one_of("function"), "function": named}, required=("type", "function")
    )


def responses_tool_choice(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return one_of("none", "auto", "required")(value, name)
    return members(value, name, {"type": one_of("function"), "name": _NAME}, required=("type", "name"))


def messages_tool_choice(value: Any, name: str) -> Any:
    allowed = {
        "type": one_of("auto", "any", "tool", "none"),
        "name": _NAME,
        "disable_parallel_tool_use": boolean,
    }
    return members(value, name, allowed, required=("type",))


def _schema(value: Any, name: str) -> dict[str, Any]:
    allowed = {"name": _NAME, "description": _DESCRIPTION, "schema": json_object, "strict": boolean}
    return members(value, name, allowed, required=("name", "schema"))


def response_format(value: Any, name: str) -> dict[str, Any]:
    allowed = {"type": one_of("text", "json_object", "json_schema"), "json_schema": _schema}
    return members(value, name, allowed, required=("type",))


def responses_text(value: Any, name: str) -> dict[str, Any]:
    def chosen(inner: Any, inner_name: str) -> dict[str, Any]:
        allowed = {
            "type": one_of("text", "json_object", "json_schema"),
            "name": _NAME,
            "description": _DESCRIPTION,
            "schema": json_object,
            "strict": boolean,
        }
        return members(inner, inner_name, allowed, required=("type",))

    return members(value, name, {"format": chosen, "verbosity": one_of("low", "medium", "high")})
