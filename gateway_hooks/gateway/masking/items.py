"""Streams of responses: deltas per item and part, events that repeat texts, then everything once more."""

from collections.abc import Hashable
from typing import Any

from gateway_hooks.gateway.masking.documents import readable
from gateway_hooks.gateway.masking.mask import Mask

_DELTA, _DONE = ".delta", ".done"
_CONTENT = "response.output_text.delta"
_ITEM_DONE = "response.output_item.done"
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_PLACE = ("output_index", "content_index", "summary_index", "item_id")
_NUMBER = "sequence_number"


class Items:
    """An event that must come before another takes its number; all that follow are numbered on."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._frames: dict[tuple[Hashable, ...], dict[str, Any]] = {}
        self._added = 0

    @property
    def stirred(self) -> bool:
        return self._added > 0

    def event(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        kind = str(event.get("type", ""))
        if kind.endswith(_DELTA) and isinstance(event.get("delta"), str):
            return [self._numbered(self._delta(kind, event))]
        rests = self._rests(kind, event)
        return [*rests, self._numbered(readable(self._mask.uncounted(), event))]

    def end(self) -> list[dict[str, Any]]:
        return []

    def _delta(self, kind: str, event: dict[str, Any]) -> dict[str, Any]:
        key = (
            event.get("output_index"),
            kind.removesuffix(_DELTA),
            *(event.get(name) for name in _PLACE[1:]),
        )
        self._frames[key] = {"type": kind, **{name: event[name] for name in _PLACE if name in event}}
        is_json = "arguments" in kind or (kind == _CONTENT and self._mask.json_content)
        event["delta"] = self._mask.strand(key, is_json=is_json).feed(event["delta"])
        if self._mask.own is not None and "logprobs" in event:
            event["logprobs"] = []
        return event

    def _rests(self, kind: str, event: dict[str, Any]) -> list[dict[str, Any]]:
        """The rest of each text that ends with this event, as a delta of its own."""
        if kind in _ENDS:
            begin: tuple[Hashable, ...] = ()
        elif kind == _ITEM_DONE:
            begin = (event.get("output_index"),)
        elif kind.endswith(_DONE):
            begin = (event.get("output_index"), kind.removesuffix(_DONE))
        else:
            return []
        rests = []
        for key, rest in self._mask.flushed(*begin):
            frame = {**self._frames.pop(key), "delta": rest, _NUMBER: event.get(_NUMBER, 0)}
            rests.append(self._numbered(frame))
            self._added += 1
        return rests

    def _numbered(self, event: dict[str, Any]) -> dict[str, Any]:
        if self._added and isinstance(event.get(_NUMBER), int):
            event[_NUMBER] += self._added
        return event
