"""A whole answer, or a whole event of one: every text in it restored, the model's own masked before."""

from typing import Any

from gateway_hooks.gateway.masking.mask import Mask

_WRITTEN = frozenset({"content", "text", "reasoning_content", "reasoning", "refusal", "thinking"})
"""Under these keys is what the model wrote. Other texts repeat the request, or are the engine's."""
_JSON = frozenset({"arguments", "partial_json"})
_OBJECT = "input"
_CONTENT = "output_text"
"""In the type of a response's text and of its events; messages of chats have no type."""
_LOGPROBS = "logprobs"


def readable(mask: Mask, value: Any, key: str = "", kind: str = "") -> Any:
    """A copy. Token texts in log probabilities stay as the model wrote them: placeholders, not values.

    Where the model's own text is masked they are left out, since they would spell it. ``kind``: the type of
    the object that holds ``value``.
    """
    if isinstance(value, str):
        return _text(mask, value, key, kind)
    if isinstance(value, list):
        return [readable(mask, entry, key) for entry in value]
    if isinstance(value, dict):
        kind = str(value.get("type"))
        return {name: _member(mask, entry, name, kind) for name, entry in value.items()}
    return value


def _member(mask: Mask, value: Any, name: str, kind: str) -> Any:
    if name == _LOGPROBS:
        return value if mask.own is None else None
    if name == _OBJECT:
        return mask.document(value)
    return readable(mask, value, name, kind)


def _text(mask: Mask, text: str, key: str, kind: str) -> str:
    if key in _JSON or (mask.json_content and _is_content(key, kind)):
        return mask.whole(text, is_json=True)
    return mask.whole(text) if key in _WRITTEN else mask.echoed(text)


def _is_content(key: str, kind: str) -> bool:
    """The answer itself, and neither thinking nor refusals."""
    return key == "content" or (key == "text" and _CONTENT in kind)
