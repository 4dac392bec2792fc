"""What one request's answer needs to be made readable again, and the texts of it that are still growing."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from gateway_hooks.gateway.masking.request import refused
from gateway_hooks.pii.json_text import JsonText
from gateway_hooks.pii.masker import Masker
from gateway_hooks.pii.policy import CompiledPolicy
from gateway_hooks.pii.restore import Restorer
from gateway_hooks.pii.stream import CompletionMasker

log = logging.getLogger("tenantry.gateway")

Key = tuple[Hashable, ...]
"""Which text of an answer: the choice or item, the field, the tool call."""


class Feed(Protocol):
    """A text in pieces; what is given out lags behind what is fed by no more than it must."""

    @property
    def counts(self) -> Mapping[str, int]: ...

    def feed(self, text: str) -> str: ...

    def flush(self) -> str: ...


class Own(NamedTuple):
    """How the model's own texts are masked; what is masked in them is not restored."""

    policy: CompiledPolicy
    key: bytes
    counts: "Counter[str]"

    def whole(self, text: str) -> str:
        masker = Masker(self.policy, self.key)
        (masked,) = masker.mask_texts([text])
        self.counts.update(masker.counts)
        return masked


class Mask:
    """On the ticket from the masking of its body to its end.

    ``mapping`` is placeholder -> value, ``counts`` values by entity. ``own`` is policy and tenant key,
    if what the model writes itself is to be masked, too. ``json_content``: the request asked for JSON, so
    the model's contents are JSON documents.
    """

    def __init__(
        self,
        mapping: Mapping[str, str],
        counts: Mapping[str, int],
        own: tuple[CompiledPolicy, bytes] | None = None,
        *,
        json_content: bool = False,
    ) -> None:
        self.json_content = json_content
        self.mapping = dict(mapping)
        self.counts = Counter(counts)
        self.own = None if own is None else Own(*own, self.counts)
        self._strands: dict[Key, Strand] = {}
        self._marks = tuple(_spellings({placeholder[0] for placeholder in self.mapping}))
        self.firsts = frozenset(placeholder[0] for placeholder in self.mapping)
        self.longest = max(map(len, self.mapping), default=0)

    @property
    def idle(self) -> bool:
        """Nothing of the answer has to be looked at."""
        return not self.mapping and self.own is None

    def stirs(self, raw: bytes) -> bool:
        """Whether these bytes of JSON may hold anything to change, or anything is held back."""
        if self.own is not None or any(strand.holding for strand in self._strands.values()):
            return True
        return any(mark in raw for mark in self._marks)

    def strand(self, key: Key, *, is_json: bool = False) -> "Strand":
        """``is_json``: the text is a JSON document in pieces, so values go into its strings."""
        strand = self._strands.get(key)
        if strand is None:
            strand = self._strands[key] = Strand(self, is_json=is_json)
        return strand

    def flushed(self, *begin: Hashable) -> Iterator[tuple[Key, str]]:
        """What texts whose key begins so still held back; they are at their end."""
        for key in [key for key in self._strands if key[: len(begin)] == begin]:
            rest = self._strands.pop(key).flush()
            if rest:
                yield key, rest

    def uncounted(self) -> "Mask":
        """For texts that come a second time."""
        if self.own is None:
            return self
        return Mask(self.mapping, {}, self.own[:2], json_content=self.json_content)

    def whole(self, text: str, *, is_json: bool = False) -> str:
        """A text at once. Nothing in it is kept."""
        if self.own is not None:
            text = _guarded(self.own.whole, JsonText(text) if is_json else text)
        return self.echoed(text, is_json=is_json)

    def echoed(self, text: str, *, is_json: bool = False) -> str:
        """Of the request, not of the model: only restored."""
        if self.firsts.isdisjoint(text):
            return text
        return _restored(Restorer(self.mapping, escape=is_json), text)

    def document(self, value: Any) -> Any:
        """JSON of the model's."""
        if self.own is not None:
            value = json.loads(_guarded(self.own.whole, JsonText(json.dumps(value, ensure_ascii=False))))
        return _each_text(value, self.echoed)

    def free(self) -> None:
        """The request has ended, however: no value outlives it."""
        self.mapping.clear()
        self._strands.clear()
        self.own = None
        self._marks = ()
        self.firsts = frozenset()


class Strand:
    """One growing text: what the model wrote itself is masked, then what the client wrote is restored."""

    def __init__(self, mask: Mask, *, is_json: bool) -> None:
        self._own = _own_feed(mask.own, is_json=is_json)
        self._counts = mask.counts
        self._restorer = Restorer(mask.mapping, escape=is_json) if mask.mapping else None
        self._firsts, self._longest = mask.firsts, mask.longest
        self._tail = ""

    @property
    def holding(self) -> bool:
        """May be too careful: a placeholder that has just ended counts as one that might begin."""
        return self._own is not None or not self._firsts.isdisjoint(self._tail)

    def feed(self, text: str) -> str:
        if self._own is not None:
            text = _guarded(self._own.feed, text)
        if self._restorer is None:
            return text
        self._tail = (self._tail + text)[-self._longest :]
        return _fed(self._restorer, text)

    def flush(self) -> str:
        rest = ""
        if self._own is not None:
            rest = _guarded(self._own.flush)
            self._counts.update(self._own.counts)
        self._tail = ""
        return rest if self._restorer is None else _restored(self._restorer, rest)


class _WholeJson:
    """Half a JSON document cannot be masked and stay one: it is held until its end."""

    def __init__(self, own: "Own") -> None:
        self.counts: dict[str, int] = {}
        self._own = own
        self._parts: list[str] = []

    def feed(self, text: str) -> str:
        self._parts.append(text)
        return ""

    def flush(self) -> str:
        return self._own.whole(JsonText("".join(self._parts)))


def _own_feed(own: Own | None, *, is_json: bool) -> Feed | None:
    if own is None:
        return None
    if is_json:
        return _WholeJson(own)
    return CompletionMasker(own.policy, own.key)


def _guarded(step: Callable[..., str], *arguments: str) -> str:
    """What the model wrote must not pass unmasked: the answer ends here instead."""
    try:
        return step(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the text must not pass
        raise refused(error) from None


def _fed(restorer: Restorer, text: str) -> str:
    """Where restoring fails, the placeholders stay: the client sees less, and nobody sees too much."""
    try:
        return restorer.feed(text)
    except Exception as error:  # noqa: BLE001 - logged by type; the answer goes on unrestored
        _log(error)
        return text


def _restored(restorer: Restorer, text: str) -> str:
    fed = _fed(restorer, text)
    try:
        return fed + restorer.flush()
    except Exception as error:  # noqa: BLE001 - logged by type; the answer goes on unrestored
        _log(error)
        return fed


def _log(error: Exception) -> None:
    """Its text may quote a value."""
    log.error("restoring failed: %s", type(error).__name__)


def _each_text(document: Any, change: Callable[[str], str]) -> Any:
    if isinstance(document, str):
        return change(document)
    if isinstance(document, list):
        return [_each_text(entry, change) for entry in document]
    if isinstance(document, dict):
        return {change(name): _each_text(entry, change) for name, entry in document.items()}
    return document


def _spellings(chars: set[str]) -> Iterator[bytes]:
    """How JSON may write them."""
    for char in sorted(chars):
        code = f"{ord(char):04x}"
        yield from (char.encode(), f"\\u{code}".encode(), f"\\u{code.upper()}".encode())
