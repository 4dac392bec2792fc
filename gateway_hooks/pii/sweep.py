"""Other places where values stand that were found somewhere: inside longer words, or without the word beside
them.

One pass over all texts, however many values: a place counts if it begins like some value, and only there the
values that begin so are compared.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

_FEW = 400_000
"""Up to so many characters times values, plain searches are quicker."""
_LONG = 8
"""Characters by which longer values are told from other text; shorter ones by their first alone."""
_STRIDE = 4_096
_PAUSE = 256


def occurrences(texts: Sequence[str], values: Sequence[str]) -> Iterator[tuple[int, int, int] | None]:
    """``(text, start, end)`` of every value in every text; of those that begin at one place the longest.
    None: a pause.
    """
    if not values:
        return
    if sum(map(len, texts)) * len(values) <= _FEW:
        yield from _plain(texts, values)
        return
    yield None
    begins = [0, *accumulate(len(text) + 1 for text in texts)]
    row = "\0".join(texts)
    yield from _in_row(row, begins, [value for value in values if len(value) >= _LONG])
    yield from _in_row(row, begins, [value for value in values if len(value) < _LONG])


def _plain(texts: Sequence[str], values: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    for index, text in enumerate(texts):
        for value in values:
            place = text.find(value)
            while place >= 0:
                yield index, place, place + len(value)
                place = text.find(value, place + len(value))


def _in_row(row: str, begins: Sequence[int], values: Sequence[str]) -> Iterator[tuple[int, int, int] | None]:
    if not values:
        return
    known = frozenset(values)
    size = min(map(len, values))
    lengths: dict[str, list[int]] = {}
    for value in values:
        lengths.setdefault(value[:size], []).append(len(value))
    lengths = {head: sorted(set(sizes), reverse=True) for head, sizes in lengths.items()}
    for first in range(0, len(row), _STRIDE):
        yield None
        last = min(first + _STRIDE, len(row))
        places = [place for place in range(first, last) if row[place : place + size] in lengths]
        for number, place in enumerate(places):
            if number % _PAUSE == _PAUSE - 1:
                yield None
            for length in lengths[row[place : place + size]]:
                if row[place : place + length] in known:
                    index = bisect_right(begins, place) - 1
                    start, end = place - begins[index], place + length - begins[index]
                    if end < begins[index + 1] - begins[index]:
                        yield index, start, end
                        break
