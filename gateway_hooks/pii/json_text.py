"""Text that holds JSON: its strings and long numbers, each with the name it stands under.

The text around them stays as it is, to the last blank: only changed literals are written anew.
"""

import json
import re
from collections.abc import Generator, Sequence
from decimal import Decimal
from typing import NamedTuple

_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|[\[\]{}]', re.DOTALL)
LEAST_DIGITS = 6
"""A number of fewer is no value."""
_MOST_DIGITS = 40
_PULSE = 256
_INTEGER = re.compile(r"-?[0-9]+")
_NAME_FOLLOWS = re.compile(r"\s*:")


class JsonText(str):
    """A part that holds JSON (tool arguments, a tool's result). If it does not parse, it is plain text."""

    __slots__ = ()


class Leaf(NamedTuple):
    """``text`` is the decoded literal at ``[start:end]``; ``name``: the key before it, "" for keys and
    elements.
    """

    start: int
    end: int
    name: str
    text: str
    quoted: bool


def leaves(source: str) -> list[Leaf] | None:
    """All strings (keys too) and numbers of six digits and more; None if ``source`` is no JSON."""
    steps = leaves_in_steps(source)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def leaves_in_steps(source: str) -> Generator[None, None, list[Leaf] | None]:
    """The same, with pauses."""
    try:
        json.loads(source)
    except (ValueError, RecursionError):
        return None
    found: list[Leaf] = []
    name = ""
    for number, match in enumerate(_LITERAL.finditer(source)):
        if number % _PULSE == _PULSE - 1:
            yield
        literal = match[0]
        if literal[0] == '"':
            text = json.loads(literal)
            is_name = _NAME_FOLLOWS.match(source, match.end()) is not None
            found.append(Leaf(match.start(), match.end(), "" if is_name else name, text, quoted=True))
            name = text if is_name else name
        elif literal[0] in "-0123456789":
            text = number_text(literal)
            if len(text) >= LEAST_DIGITS:
                found.append(Leaf(match.start(), match.end(), name, text, quoted=False))
        elif literal in "{}":
            name = ""
    return found


def number_text(literal: str) -> str:
    """The digits of a JSON number as a person would write them: 4.1e3 and 4100.0 are 4100."""
    if len(literal) < LEAST_DIGITS and "e" not in literal and "E" not in literal:
        return literal
    if _INTEGER.fullmatch(literal):
        return literal
    number = Decimal(literal)
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS:
        return literal
    plain = format(number, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def rebuilt(source: str, found: Sequence[Leaf], texts: Sequence[str]) -> str:
    """``source`` with ``texts`` for the leaves that differ; a changed number becomes a string."""
    pieces, place = [], 0
    for leaf, text in zip(found, texts, strict=True):
        if text != leaf.text:
            pieces += [source[place : leaf.start], json.dumps(text)]
            place = leaf.end
    pieces.append(source[place:])
    return "".join(pieces)
