"""The names of the functions that a body offers to the model or forces on it."""

from collections.abc import Iterator
from typing import Any

from gateway_hooks.errors import Code, GatewayError

Fields = dict[str, Any]


def check_tools(allowed: tuple[str, ...] | None, fields: Fields) -> None:
    """Raises ``GatewayError`` with the first name that is not allowed. None: all are."""
    if allowed is None:
        return
    for param, name in named_tools(fields):
        if name not in allowed:
            message = f"This account may not offer the tool `{name}`."
            raise GatewayError(Code.TOOL_NOT_ALLOWED, message, param=param)


def named_tools(fields: Fields) -> Iterator[tuple[str, str]]:
    """``(where, name)``, in all three dialects."""
    for index, tool in enumerate(fields.get("tools", [])):
        yield f"tools.{index}", _name(tool) or ""
    choice = fields.get("tool_choice")
    if isinstance(choice, dict) and (name := _name(choice)) is not None:
        yield "tool_choice", name


def _name(tool: Fields) -> str | None:
    """Chat has it below ``function``; responses and messages have it beside the type."""
    return tool.get("function", tool).get("name")  # type: ignore[no-any-return]
