"""Prompts of completions and inputs of embeddings: text or token ids."""

from typing import Any

from gateway_hooks.gateway.body.checks import invalid, text
from gateway_hooks.gateway.body.conversation import MAX_TEXT

MAX_TOKEN_ID = 1 << 24
_TEXT = text(MAX_TEXT)


def is_token_ids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(entry) is int and 0 <= entry < MAX_TOKEN_ID for entry in value)
    )


def one_prompt(value: Any, name: str) -> Any:
    """One prompt per request: one engine event pays for one request."""
    if isinstance(value, list) and len(value) == 1 and not is_token_ids(value):
        value = value[0]
    if isinstance(value, str) or is_token_ids(value):
        return value
    raise invalid(name, "must be one string or one list of token ids")


def embedding_input(value: Any, name: str) -> Any:
    """One input per request, as with prompts."""
    if isinstance(value, str):
        return _TEXT(value, name)
    if is_token_ids(value):
        return value
    if isinstance(value, list) and len(value) == 1:
        return embedding_input(value[0], name)
    raise invalid(name, "must be one text or one list of token ids")
