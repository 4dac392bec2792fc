"""Ranges of a text and their union."""

from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """``text[start:end]`` is a value of ``entity``."""

    start: int
    end: int
    entity: str


def unite(spans: Iterable[Span], rank: dict[str, int]) -> list[Span]:
    """Sorted and without overlaps: overlapping spans become one, named after the longest of them.

    Of two equally long ones the smaller ``rank`` names it. Spans that only touch stay two.
    """
    united: list[Span] = []
    best: tuple[int, int] = (0, 0)
    for span in sorted(spans):
        claim = (span.start - span.end, rank.get(span.entity, len(rank)))
        if united and span.start < united[-1].end:
            last = united[-1]
            name = span.entity if claim < best else last.entity
            best = min(best, claim)
            united[-1] = Span(last.start, max(last.end, span.end), name)
        else:
            united.append(span)
            best = claim
    return united
