"""A whole answer, or a whole event of one: every text in it restored, the model's own masked before."""

from typing import Any

from gateway_hooks.gateway.masking.mask import Mask

_WRITTEN = frozenset({"content", "text", "reasoning_content", "reasoning", "refusal", "thinking"})
"""Under these keys is what the model wrote. Other texts repeat the request, or are the engine's."""
_JSON = frozenset({"arguments", "partial_json"})
_OBJECT = "input"
_LOGPROBS = "logprobs"


def readable(mask: Mask, value: Any, key: str = "") -> Any:
    """A copy. Token texts in log probabilities stay as the model wrote them: placeholders, not values.

    Where the model's own text is masked they are left out, since they would spell it.
    """
    if isinstance(value, str):
        return _text(mask, value, key)
    if isinstance(value, list):
        return [readable(mask, entry, key) for entry in value]
    if isinstance(value, dict):
        return {name: _member(mask, entry, name) for name, entry in value.items()}
    return value


def _member(mask: Mask, value: Any, name: str) -> Any:
    if name == _LOGPROBS:
        return value if mask.own is None else None
    if name == _OBJECT:
        return mask.document(value)
    return readable(mask, value, name)


def _text(mask: Mask, text: str, key: str) -> str:
    if key in _JSON:
        return mask.whole(text, is_json=True)
    return mask.whole(text) if key in _WRITTEN else mask.echoed(text)
