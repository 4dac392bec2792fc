"""Prompts of completions and inputs of embeddings: text or token ids."""

from typing import Any

from gateway_hooks.gateway.body.checks import invalid, text
from gateway_hooks.gateway.body.conversation import MAX_TEXT

MAX_INPUTS = 256
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
    if isinstance(value, str):
        return _TEXT(value, name)
    if is_token_ids(value):
        return value
    if not isinstance(value, list) or not 0 < len(value) <= MAX_INPUTS:
        raise invalid(name, f"must be text, token ids, or a list of at most {MAX_INPUTS} of them")
    return [entry if is_token_ids(entry) else _TEXT(entry, name) for entry in value]
