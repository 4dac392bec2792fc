"""The deeper tier's share: names and places, in plain texts where they stand, in JSON by their value."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from gateway_hooks.pii.errors import PiiError
from gateway_hooks.pii.json_text import JsonText, leaves
from gateway_hooks.pii.spans import Span

Found = Sequence[Sequence[Span]]
PATIENCE = 2.0
"""Seconds; after it the request is refused."""
_LETTER = re.compile(r"[^\W\d_]")


class Deeper(Protocol):
    """``gateway_hooks.pii.ner.NerPool``."""

    async def detect(
        self,
        texts: Sequence[str],
        entities: Iterable[str],
        timeout: float,  # noqa: ASYNC109 - the pool's signature
    ) -> list[list[Span]]:
        """Spans per text. Raises ``PiiError`` when it cannot tell in time."""


class Marked(NamedTuple):
    """``texts`` begin with those of the request; what follows are values found in its JSON."""

    texts: list[str]
    found: list[list[Span]]


async def marked(deeper: Deeper | None, texts: list[str], entities: frozenset[str]) -> Marked:
    """Raises ``PiiError``: without the tier that the policy asks for no word may pass."""
    parsed = [leaves(text) if isinstance(text, JsonText) else None for text in texts]
    plain = [str(text) if inner is None else "" for text, inner in zip(texts, parsed, strict=True)]
    inside = [leaf.text for inner in parsed for leaf in inner or () if leaf.quoted]
    if not any(map(_LETTER.search, (*plain, *inside))):
        return Marked(texts, [[] for _ in texts])
    if deeper is None:
        message = "the deeper tier is not running"
        raise PiiError(message)
    found = await deeper.detect([*plain, *inside], entities, PATIENCE)
    values = [
        (text[span.start : span.end], span.entity)
        for text, spans in zip(inside, found[len(texts) :], strict=True)
        for span in spans
    ]
    return Marked(
        [*texts, *(value for value, _ in values)],
        [*found[: len(texts)], *([Span(0, len(value), entity)] for value, entity in values)],
    )
