"""How texts lie in JSON: a shape shows each text below a value to a visitor and puts back what it returns."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from gateway_hooks.pii.json_text import LEAST_DIGITS, number_text


class Visit(Protocol):
    """Sees every text once, always in the same order."""

    def text(self, text: str) -> str:
        """What to put in its place."""

    def json_text(self, text: str) -> str:
        """The same for a text that may hold JSON; then it stays JSON."""

    def document(self, value: Any) -> Any:
        """The same for JSON itself."""

    def fixed(self, text: str) -> None:
        """A name that both sides must know: it cannot be another."""

    def together(self) -> AbstractContextManager[None]:
        """Texts seen within follow each other in the prompt: a value may begin in one and end in the next."""


Shape = Callable[[Visit, Any], Any]


def text(visit: Visit, value: Any) -> Any:
    return visit.text(value)


def json_text(visit: Visit, value: Any) -> Any:
    return visit.json_text(value)


def document(visit: Visit, value: Any) -> Any:
    return visit.document(value)


def plain(_visit: Visit, value: Any) -> Any:
    """Numbers, choices from a list, ids: no text of anybody's."""
    return value


def fixed(visit: Visit, value: Any) -> Any:
    """Every key, text and number below ``value`` must stay as it is."""
    if isinstance(value, str):
        visit.fixed(value)
    elif is_long_number(value):
        visit.fixed(number_text(repr(value)))
    elif isinstance(value, list):
        for entry in value:
            fixed(visit, entry)
    elif isinstance(value, dict):
        for key, entry in value.items():
            visit.fixed(key)
            fixed(visit, entry)
    return value


def each(shape: Shape) -> Shape:
    def entries(visit: Visit, value: Any) -> Any:
        return [shape(visit, entry) for entry in value]

    return entries


def together(shape: Shape) -> Shape:
    def entries(visit: Visit, value: Any) -> Any:
        with visit.together():
            return shape(visit, value)

    return entries


def members(**shapes: Shape) -> Shape:
    """An object. A member not named here must hold nothing to mask, so that nothing passes by being new."""

    def entries(visit: Visit, value: Mapping[str, Any]) -> Any:
        return {name: shapes.get(name, fixed)(visit, entry) for name, entry in value.items()}

    return entries


_SPOKEN = frozenset({"title", "description", "$comment", "default", "example", "examples", "enum", "const"})
"""Of a JSON schema: what a model reads as text. The rest is its frame."""
_LONG = 10 ** (LEAST_DIGITS - 1)


def is_long_number(value: Any) -> bool:
    """Whether its digits could be a value."""
    if isinstance(value, float):
        return True
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _LONG


def schema(visit: Visit, value: Any) -> Any:
    """Texts for the model are masked; property names, patterns and references must hold nothing to mask."""
    if isinstance(value, list):
        return [schema(visit, entry) for entry in value]
    if not isinstance(value, dict):
        return fixed(visit, value)
    shaped = {}
    for name, entry in value.items():
        visit.fixed(name)
        shaped[name] = _keyword(visit, name, entry)
    return shaped


def _keyword(visit: Visit, name: str, value: Any) -> Any:
    """A property may have a keyword's name: then a schema stands under it."""
    if name not in _SPOKEN or isinstance(value, dict):
        return schema(visit, value)
    return visit.text(value) if isinstance(value, str) else visit.document(value)
