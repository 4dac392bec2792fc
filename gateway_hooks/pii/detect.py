"""Which ranges of a text hold a value of which entity."""

from gateway_hooks.pii.custom import find_custom
from gateway_hooks.pii.entities import find_builtin
from gateway_hooks.pii.policy import CompiledPolicy
from gateway_hooks.pii.scan import Finds, Scan
from gateway_hooks.pii.spans import Span, unite
from gateway_hooks.pii.view import View


def detect(text: str, compiled: CompiledPolicy) -> list[Span]:
    """Spans of ``text``, sorted, without overlaps; nothing is found inside what looks like a placeholder."""
    return unite(detect_overlapping(text, compiled), compiled.rank)


def detect_overlapping(text: str, compiled: CompiledPolicy) -> list[Span]:
    """As ``detect``, but in no order and with every entity that a range may be."""
    view = View([text])
    view.blank(opaque_ranges(view, 0, text, compiled))
    found = (span for span in find_all(view, compiled) if span is not None)
    return [Span(*view.original(0, span.start, span.end), span.entity) for span in found]


def find_all(view: View, compiled: CompiledPolicy) -> Finds:
    """Spans of the whole view in its own offsets, possibly overlapping; None where a caller may pause."""
    yield from find_builtin(Scan(view, compiled.wanted))
    yield from find_custom(view.clean, compiled.rules)


def opaque_ranges(view: View, index: int, text: str, compiled: CompiledPolicy) -> list[tuple[int, int]]:
    """Where text ``index`` of the view has what looks like a placeholder."""
    if "<" not in text:
        return []
    return [view.within(index, *match.span()) for match in compiled.opaque.finditer(text)]
