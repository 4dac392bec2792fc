"""Streams of chat completions and completions: texts per choice and field, arguments per tool call."""

from typing import Any

from gateway_hooks.gateway.masking.mask import Key, Mask

_REASONING = ("reasoning_content", "reasoning")
_CONTENT = "content"
_FIELDS = (_CONTENT, *_REASONING, "refusal")
_TEXT, _TOOL = "text", "tool"
_HEAD = frozenset({"id", "object", "created", "model"})


class Chunks:
    """Changes a chunk in place, and yields what must be sent for it."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._head: dict[str, Any] = {}

    @property
    def stirred(self) -> bool:
        """Whether every event must be looked at from now on."""
        return False

    def event(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        self._head = {name: entry for name, entry in chunk.items() if name in _HEAD}
        for choice in chunk.get("choices") or ():
            self._choice(choice)
        return [chunk]

    def end(self) -> list[dict[str, Any]]:
        """What is left of choices that never said that they are finished."""
        choices: dict[Any, dict[str, Any]] = {}
        for key, rest in self._mask.flushed():
            choice = choices.setdefault(key[0], {"index": key[0], "finish_reason": None})
            _append(choice, key, rest)
        return [{**self._head, "choices": list(choices.values())}] if choices else []

    def _choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index", 0)
        if self._mask.own is not None and "logprobs" in choice:
            choice["logprobs"] = None
        if isinstance(choice.get(_TEXT), str):
            choice[_TEXT] = self._mask.strand((index, _TEXT)).feed(choice[_TEXT])
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._delta(choice, delta, index)
        if choice.get("finish_reason"):
            for key, rest in self._mask.flushed(index):
                _append(choice, key, rest)

    def _delta(self, choice: dict[str, Any], delta: dict[str, Any], index: int) -> None:
        for name in _FIELDS:
            if isinstance(delta.get(name), str):
                is_json = name == _CONTENT and self._mask.json_content
                delta[name] = self._mask.strand((index, name), is_json=is_json).feed(delta[name])
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            if isinstance(function.get("arguments"), str):
                strand = self._mask.strand((index, _TOOL, call.get("index", 0)), is_json=True)
                function["arguments"] = strand.feed(function["arguments"])
        if delta.get("content") or delta.get("tool_calls"):
            self._end_reasoning(choice, index)

    def _end_reasoning(self, choice: dict[str, Any], index: int) -> None:
        """Thinking comes first: its rest should not come after the answer."""
        for name in _REASONING:
            for key, rest in self._mask.flushed(index, name):
                _append(choice, key, rest)


def _append(choice: dict[str, Any], key: Key, rest: str) -> None:
    if key[1] == _TEXT:
        choice[_TEXT] = (choice.get(_TEXT) or "") + rest
        return
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        delta = choice["delta"] = {}
    if key[1] != _TOOL:
        delta[key[1]] = (delta.get(key[1]) or "") + rest
        return
    calls = delta["tool_calls"] = delta.get("tool_calls") or []
    call = next((call for call in calls if call.get("index", 0) == key[2]), None)
    if call is None:
        calls.append({"index": key[2], "function": {"arguments": rest}})
        return
    function = call["function"] = call.get("function") or {}
    function["arguments"] = (function.get("arguments") or "") + rest
