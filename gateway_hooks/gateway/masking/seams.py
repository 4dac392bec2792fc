"""Values that begin in one part of a message and end in the next: the model reads the parts as one text."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.pii.detect import detect_overlapping, find_all
from gateway_hooks.pii.json_text import JsonText, leaves
from gateway_hooks.pii.policy import CompiledPolicy
from gateway_hooks.pii.spans import Span
from gateway_hooks.pii.view import View

REACH = 96
"""Characters on each side of a seam that are looked at together."""

Placed = tuple[int, Span]


class _Window(NamedTuple):
    """Ends or whole texts that follow each other: ``indices`` and ``offsets`` of the texts they are from."""

    indices: list[int]
    offsets: list[int]
    pieces: list[str]


def over_seams(
    texts: Sequence[str], groups: Sequence[range], compiled: CompiledPolicy
) -> Iterator[Placed | None]:
    """Each text's share of such values; None where a caller may pause.

    Raises ``GatewayError`` if a share lies in JSON, where no part of a value can be put out of the way.
    """
    for group in groups:
        for window in _windows(texts, group):
            yield None
            for index, span in _shares(window, _crossing(window, compiled)):
                if isinstance(texts[index], JsonText) and leaves(texts[index]) is not None:
                    message = "A value that goes from one part into the next cannot be masked."
                    raise GatewayError(Code.PII_UNMASKABLE, message)
                yield index, span


def _windows(texts: Sequence[str], group: range) -> Iterator[_Window]:
    """A text longer than two reaches ends one window and begins another."""
    window = _Window([], [], [])
    for index in group:
        text = texts[index]
        if not text:
            continue
        if len(text) <= 2 * REACH:
            _add(window, index, 0, text)
            continue
        _add(window, index, 0, text[:REACH])
        if len(window.pieces) > 1:
            yield window
        window = _Window([], [], [])
        _add(window, index, len(text) - REACH, text[-REACH:])
    if len(window.pieces) > 1:
        yield window


def _add(window: _Window, index: int, offset: int, piece: str) -> None:
    window.indices.append(index)
    window.offsets.append(offset)
    window.pieces.append(piece)


def _crossing(window: _Window, compiled: CompiledPolicy) -> Iterator[Span]:
    """Values of the joined text, but for those of a piece that the next only seems to prolong."""
    edges = list(accumulate(map(len, window.pieces)))
    crossing = [
        span
        for span in detect_overlapping("".join(window.pieces), compiled)
        if bisect_right(edges, span.start) != bisect_right(edges, span.end - 1)
    ]
    if not crossing:
        return
    alone = _alone(window, compiled)
    for span in crossing:
        if (span.start, span.entity) not in alone:
            yield span


def _alone(window: _Window, compiled: CompiledPolicy) -> set[tuple[int, str]]:
    """Where values of single pieces begin in the joined text."""
    view = View(window.pieces)
    begins = [0, *accumulate(map(len, window.pieces))]
    starts: set[tuple[int, str]] = set()
    for span in find_all(view, compiled):
        if span is not None:
            piece = bisect_right(view.bases, span.start) - 1
            start, _ = view.original(piece, span.start, span.end)
            starts.add((begins[piece] + start, span.entity))
    return starts


def _shares(window: _Window, spans: Iterator[Span]) -> Iterator[Placed]:
    begins = [0, *accumulate(map(len, window.pieces))]
    for span in spans:
        piece = bisect_right(begins, span.start) - 1
        while piece < len(window.pieces) and begins[piece] < span.end:
            start, end = max(span.start, begins[piece]), min(span.end, begins[piece + 1])
            shift = window.offsets[piece] - begins[piece]
            yield window.indices[piece], Span(start + shift, end + shift, span.entity)
            piece += 1
