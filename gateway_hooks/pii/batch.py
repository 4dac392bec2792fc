"""The texts of one request as one view, what was found in them, and what becomes of them."""

from bisect import bisect_right
from collections.abc import Generator, Sequence

from gateway_hooks.pii.json_text import Leaf, rebuilt
from gateway_hooks.pii.policy import CompiledPolicy
from gateway_hooks.pii.spans import Span, unite
from gateway_hooks.pii.view import View

Placed = tuple[int, Span]
"""A span and the number of the text that it is a range of."""

_PAUSE = 256


class Batch:
    """The texts of one call as passages of one view: a plain text is one, each leaf of a JSON text is one.

    A leaf stands in the view behind its name, which may say what it is but is itself a leaf elsewhere.
    """

    def __init__(
        self,
        parts: Sequence[str],
        parsed: Sequence[list[Leaf] | None],
        found: Sequence[Sequence[Span]] | None,
    ) -> None:
        self._parts, self._parsed = parts, parsed
        self.texts: list[str] = []
        self.given: list[Placed] = []
        heads: list[str] = []
        for number, (part, found_leaves) in enumerate(zip(parts, parsed, strict=True)):
            if found_leaves is None:
                self.given += [(len(self.texts), span) for span in (found[number] if found else ())]
                self.texts.append(str(part))
                heads.append("")
            else:
                self.texts += [leaf.text for leaf in found_leaves]
                heads += [f"{leaf.name}: " if leaf.name else "" for leaf in found_leaves]
        self._heads = list(map(len, heads))
        self.view = View([head + text for head, text in zip(heads, self.texts, strict=True)])
        self._claimed: list[list[Span]] = [[] for _ in self.texts]

    def blank_opaque(self, compiled: CompiledPolicy) -> set[str]:
        """Takes what looks like a placeholder out of the view; returns it."""
        standing: set[str] = set()
        ranges = []
        for index, text in enumerate(self.texts):
            if "<" not in text:
                continue
            head = self._heads[index]
            for match in compiled.opaque.finditer(text):
                standing.add(match[0])
                self._claimed[index].append(Span(*match.span(), ""))
                ranges.append(self.view.within(index, match.start() + head, match.end() + head))
        self.view.blank(ranges)
        return standing

    def placed(self, spans: Sequence[Span]) -> list[Placed]:
        """Spans of the view as spans of its texts; what lies in a leaf's name alone falls away."""
        placed = []
        for span in spans:
            index = bisect_right(self.view.bases, span.start) - 1
            head = self._heads[index]
            start, end = self.view.original(index, span.start, span.end)
            if end > head:
                placed.append((index, Span(max(0, start - head), end - head, span.entity)))
        return placed

    def claim(self, placed: Sequence[Placed], rank: dict[str, int]) -> Generator[None, None, list[Placed]]:
        """Unites what overlaps, leaves earlier claims alone, blanks the rest in the view and returns it, with
        pauses.
        """
        by_text: dict[int, list[Span]] = {}
        for index, span in placed:
            by_text.setdefault(index, []).append(span)
        fresh: list[Placed] = []
        ranges = []
        for number, index in enumerate(sorted(by_text)):
            if number % _PAUSE == 0:
                yield None
            spans = _beside(unite(by_text[index], rank), self._claimed[index])
            self._claimed[index] = sorted(self._claimed[index] + spans)
            head = self._heads[index]
            for span in spans:
                fresh.append((index, span))
                ranges.append(self.view.within(index, span.start + head, span.end + head))
                if len(ranges) % _PAUSE == 0:
                    yield None
        yield None
        self.view.blank(ranges)
        return fresh

    def masked(self, tokens: dict[str, str]) -> Generator[None, None, list[str]]:
        """The parts with placeholders for what was claimed, with pauses."""
        texts = []
        for index in range(len(self.texts)):
            texts.append(self._masked(index, tokens))
            if index % _PAUSE == _PAUSE - 1:
                yield None
        yield None
        results: list[str] = []
        place = 0
        for part, found_leaves in zip(self._parts, self._parsed, strict=True):
            size = 1 if found_leaves is None else len(found_leaves)
            mine = texts[place : place + size]
            results.append(mine[0] if found_leaves is None else rebuilt(part, found_leaves, mine))
            place += size
        return results

    def _masked(self, index: int, tokens: dict[str, str]) -> str:
        text, pieces, place = self.texts[index], [], 0
        for span in self._claimed[index]:
            if span.entity:
                pieces += [text[place : span.start], tokens[text[span.start : span.end]]]
                place = span.end
        pieces.append(text[place:])
        return "".join(pieces)


def _beside(spans: list[Span], claimed: list[Span]) -> list[Span]:
    """What of ``spans`` lies outside ``claimed``; both sorted and without overlaps."""
    kept, place = [], 0
    for span in spans:
        start = span.start
        while place < len(claimed) and claimed[place].end <= start:
            place += 1
        ahead = place
        while ahead < len(claimed) and claimed[ahead].start < span.end:
            if start < claimed[ahead].start:
                kept.append(Span(start, claimed[ahead].start, span.entity))
            start = claimed[ahead].end
            ahead += 1
        if start < span.end:
            kept.append(Span(start, span.end, span.entity))
    return kept
