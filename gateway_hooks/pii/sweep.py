"""Other places where values stand that were found somewhere: inside longer words, or without the word beside
them.
"""

import re
from collections.abc import Iterator, Sequence

import re2

_FEW = 400_000
"""Up to so many characters times values, plain searches are quicker than an automaton."""
_BATCH = 500
_PAUSE = 64


def occurrences(texts: Sequence[str], values: Sequence[str]) -> Iterator[tuple[int, int, int] | None]:
    """``(text, start, end)`` of every value in every text; of overlapping ones at least the first. None: a
    pause.
    """
    if not values:
        return
    if sum(map(len, texts)) * len(values) <= _FEW:
        yield from _plain(texts, values)
        return
    for first in range(0, len(values), _BATCH):
        yield None
        automaton = _automaton(values[first : first + _BATCH])
        for index, text in enumerate(texts):
            yield None
            yield from _automatic(index, text, automaton)


def _plain(texts: Sequence[str], values: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    for index, text in enumerate(texts):
        for value in values:
            place = text.find(value)
            while place >= 0:
                yield index, place, place + len(value)
                place = text.find(value, place + len(value))


def _automaton(values: Sequence[str]) -> "re2._Regexp":
    """Made through a filter, since ``re2.compile`` would keep the values in a cache of the process."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.longest_match = True
    options.never_capture = True
    maker = re2.Filter()
    maker.Add(b"|".join(re.escape(value.encode("utf-8", "surrogatepass")) for value in values), options)
    maker.Compile()
    return maker.re(0)


def _automatic(index: int, text: str, automaton: "re2._Regexp") -> Iterator[tuple[int, int, int] | None]:
    raw = text.encode("utf-8", "surrogatepass")
    plain = len(raw) == len(text)
    byte, char = 0, 0
    for number, match in enumerate(automaton.finditer(raw)):
        start, end = match.span()
        if not plain:
            char += len(raw[byte:start].decode("utf-8", "surrogatepass"))
            byte = start
            start, end = char, char + len(raw[start:end].decode("utf-8", "surrogatepass"))
        yield index, start, end
        if number % _PAUSE == 0:
            yield None
