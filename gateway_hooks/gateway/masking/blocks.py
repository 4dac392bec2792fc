"""Streams of messages: texts, thinking and tool input per content block."""

from typing import Any

from gateway_hooks.gateway.masking.documents import readable
from gateway_hooks.gateway.masking.mask import Mask

_FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_JSON = "input_json_delta"


class Blocks:
    def __init__(self, mask: Mask) -> None:
        self._mask = mask

    @property
    def stirred(self) -> bool:
        return False

    def event(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        kind, index = event.get("type"), event.get("index", 0)
        if kind == "content_block_delta":
            return [self._delta(event, index)]
        rests = self._rests(index) if kind == "content_block_stop" else []
        return [*rests, readable(self._mask, event)]

    def end(self) -> list[dict[str, Any]]:
        return []

    def _delta(self, event: dict[str, Any], index: int) -> dict[str, Any]:
        delta = event.get("delta") or {}
        kind = str(delta.get("type"))
        name = _FIELDS.get(kind)
        if name is None or not isinstance(delta.get(name), str):
            return event
        delta[name] = self._mask.strand((index, kind), is_json=kind == _JSON).feed(delta[name])
        return event

    def _rests(self, index: int) -> list[dict[str, Any]]:
        return [
            {
                "type": "content_block_delta",
                "index": index,
                "delta": {"type": key[1], _FIELDS[str(key[1])]: rest},
            }
            for key, rest in self._mask.flushed(index)
        ]
