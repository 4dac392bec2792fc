"""The deeper tier's share: names and places, in plain texts where they stand, in JSON by their value."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from gateway_hooks.pii.errors import PiiError
from gateway_hooks.pii.json_text import JsonText, Leaf, leaves
from gateway_hooks.pii.spans import Span

Found = Sequence[Sequence[Span]]
PATIENCE = 2.0
"""Seconds; after it the request is refused."""


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
    """Raises ``PiiError``: without the tier that the policy asks for nothing may pass."""
    if deeper is None:
        message = "the deeper tier is not running"
        raise PiiError(message)
    inside = [leaf.text for text in texts for leaf in _leaves(text) if leaf.quoted]
    found = await deeper.detect([*map(str, texts), *inside], entities, PATIENCE)
    own = [[] if isinstance(text, JsonText) else spans for text, spans in zip(texts, found, strict=False)]
    values = [
        (text[span.start : span.end], span.entity)
        for text, spans in zip(inside, found[len(texts) :], strict=True)
        for span in spans
    ]
    return Marked(
        [*texts, *(value for value, _ in values)],
        [*own, *([Span(0, len(value), entity)] for value, entity in values)],
    )


def _leaves(text: str) -> list[Leaf]:
    return (leaves(text) or []) if isinstance(text, JsonText) else []
