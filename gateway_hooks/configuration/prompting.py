"""The tenant's system prompt before the client's words, in each dialect.

In one system message with the client's own where there is one: many chat templates take a single system
message, and only as the first; others are refused or lost. The client's text follows after a blank line; it
can add to the tenant's, and neither remove nor precede it.
"""

from typing import Any

from gateway_hooks.gateway.body.checks import invalid
from gateway_hooks.gateway.body.endpoints import Endpoint

Fields = dict[str, Any]

BETWEEN = "\n\n"
_SYSTEM_ROLES = frozenset({"system", "developer"})


def with_system_prompt(prompt: str, fields: Fields, endpoint: Endpoint) -> Fields:
    """``fields`` with ``prompt`` first. Raises ``GatewayError`` where it cannot be put first."""
    if not prompt:
        return fields
    match endpoint.name:
        case "chat.completions":
            return {**fields, "messages": _in_messages(prompt, fields["messages"])}
        case "responses":
            return _in_responses(prompt, fields)
        case "messages":
            return {**fields, "system": joined(prompt, fields.get("system", ""))}
        case "completions":
            return _in_completion(prompt, fields)
        case _:
            return fields


def joined(prompt: str, content: Any) -> str:
    """``prompt``, a blank line, the content's text."""
    text = _text_of(content)
    return f"{prompt}{BETWEEN}{text}" if text else prompt


def _text_of(content: Any) -> str:
    """Parts on lines of their own, as vLLM puts them where a template takes a string."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or [])


def _in_messages(prompt: str, messages: list[Fields]) -> list[Fields]:
    first = messages[0]
    if first["role"] not in _SYSTEM_ROLES:
        return [{"role": "system", "content": prompt}, *messages]
    return [{**first, "content": joined(prompt, first.get("content"))}, *messages[1:]]


def _in_responses(prompt: str, fields: Fields) -> Fields:
    """In ``instructions``, which come first; or in the input's own first message if that is the system's."""
    given = fields["input"]
    if not fields.get("instructions") and isinstance(given, list) and given[0].get("role") in _SYSTEM_ROLES:
        merged = {**given[0], "content": joined(prompt, given[0]["content"])}
        return {**fields, "input": [merged, *given[1:]]}
    return {**fields, "instructions": joined(prompt, fields.get("instructions", ""))}


def _in_completion(prompt: str, fields: Fields) -> Fields:
    """Before the text. Token ids cannot follow it, and ``echo`` would answer with the tenant's words."""
    name = "prompt"
    if not isinstance(fields[name], str):
        raise invalid(name, "must be text for this account, no token ids")
    if fields.get("echo"):
        name = "echo"
        raise invalid(name, "must be false for this account")
    return {**fields, "prompt": f"{prompt}\n{fields['prompt']}"}
