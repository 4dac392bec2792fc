"""Values out, placeholders in: all texts of one request together."""

import asyncio
from collections import Counter
from collections.abc import Generator, Iterator, Sequence

from gateway_hooks.pii.batch import Batch, Placed
from gateway_hooks.pii.detect import find_all
from gateway_hooks.pii.errors import PiiBlocked, PiiError
from gateway_hooks.pii.json_text import JsonText, Leaf, leaves_in_steps
from gateway_hooks.pii.placeholders import placeholder
from gateway_hooks.pii.policy import CompiledPolicy
from gateway_hooks.pii.spans import Span, unite
from gateway_hooks.pii.sweep import occurrences

ROUNDS = 8
"""Masking what was found may lay open something new; a text that still has some after so many rounds is
refused.
"""
MOST_VALUES = 5_000
"""Of one request."""
LEAST_SWEPT = 3
"""Shorter values of a tenant's own patterns are not looked for elsewhere: they would be in every word."""

_PAUSE = 256
_PULSE = 64


class Masker:
    """One per request; ``mapping`` (placeholder -> value) lives and dies with it.

    ``counts``: how many values of each entity were replaced, and nothing else about them.
    """

    def __init__(self, compiled: CompiledPolicy, tenant_key: bytes) -> None:
        self.mapping: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.policy = self._compiled = compiled
        self._key = tenant_key
        self._names: dict[str, str] = {}
        self._tokens: dict[str, str] = {}
        self._taken: set[str] = set()

    def mask_texts(self, texts: Sequence[str], found: Sequence[Sequence[Span]] | None = None) -> list[str]:
        """Each text masked, in order; a ``JsonText`` stays valid JSON.

        ``found``: per text what the deeper tier found, for plain texts. Raises ``PiiBlocked`` for an entity
        that the policy blocks and ``PiiError`` when no end is reached.
        """
        steps = self._steps(texts, found)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return list(done.value)

    async def mask_texts_async(
        self, texts: Sequence[str], found: Sequence[Sequence[Span]] | None = None
    ) -> list[str]:
        """As ``mask_texts``, for long texts: lets the event loop run every millisecond or so."""
        steps = self._steps(texts, found)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return list(done.value)
            await asyncio.sleep(0)

    def _steps(
        self, texts: Sequence[str], found: Sequence[Sequence[Span]] | None
    ) -> Generator[None, None, list[str]]:
        parsed: list[list[Leaf] | None] = []
        for number, text in enumerate(texts):
            parsed.append((yield from leaves_in_steps(text)) if isinstance(text, JsonText) else None)
            if number % _PAUSE == _PAUSE - 1:
                yield None
        batch = Batch(texts, parsed, found)
        yield None
        yield from self._mask(batch)
        return (yield from batch.masked(self._tokens))

    def _mask(self, batch: Batch) -> Iterator[None]:
        self._taken |= batch.blank_opaque(self._compiled)
        yield from self._claim(batch, batch.given, [value for value in self._tokens if self._is_swept(value)])
        for _ in range(ROUNDS):
            spans: list[Span] = []
            for span in find_all(batch.view, self._compiled):
                if span is None:
                    yield None
                else:
                    self._let_through(span.entity)
                    spans.append(span)
            united = unite(spans, self._compiled.rank)
            yield None
            placed = batch.placed(united)
            if not placed:
                return
            yield from self._claim(batch, placed, [])
        message = "masking found no end"
        raise PiiError(message)

    def _claim(self, batch: Batch, placed: list[Placed], known: list[str]) -> Generator[None, None, None]:
        """Names the values, looks for them everywhere, and takes all those places out of the view."""
        for number, (index, span) in enumerate(placed):
            self._name(batch.texts[index][span.start : span.end], span.entity)
            if number % _PAUSE == _PAUSE - 1:
                yield None
        found = [batch.texts[index][span.start : span.end] for index, span in placed]
        values = known + [value for value in found if self._is_swept(value)]
        for place in occurrences(batch.texts, list(dict.fromkeys(values))):
            if place is None:
                yield None
            else:
                index, start, end = place
                placed.append((index, Span(start, end, self._names[batch.texts[index][start:end]])))
        fresh = yield from batch.claim(placed, self._compiled.rank)
        for number, (index, span) in enumerate(fresh):
            if number % _PULSE == 0:
                yield None
            value = batch.texts[index][span.start : span.end]
            self._name(value, span.entity)
            self.counts[self._names[value]] += 1
            self._tokenize(value)

    def _is_swept(self, value: str) -> bool:
        name = self._names[value]
        return name not in self._compiled.unswept and (len(value) >= LEAST_SWEPT)

    def _name(self, value: str, entity: str) -> None:
        self._let_through(entity)
        self._names.setdefault(value, entity)
        if len(self._names) > MOST_VALUES:
            message = "more values than are masked"
            raise PiiError(message)

    def _let_through(self, entity: str) -> None:
        """Also of a value inside a longer one, which will not be named after it."""
        if self._compiled.actions.get(entity) == "block":
            raise PiiBlocked(entity)

    def _tokenize(self, value: str) -> None:
        if value in self._tokens:
            return
        name = self._names[value]
        try:
            token = placeholder(self._key, name, value, self._taken)
        except ValueError as error:
            raise PiiError(str(error)) from None
        self._taken.add(token)
        self._tokens[value] = token
        if self._compiled.actions.get(name) != "redact":
            self.mapping[token] = value
