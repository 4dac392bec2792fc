"""Text that holds JSON: its strings and long numbers, each with the name it stands under.

The text around them stays as it is, to the last blank: only changed literals are written anew.
"""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]{6,}(?![0-9.eE])|(?<=[0-9])\.[0-9eE+-]+|[\[\]{}]', re.DOTALL)
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
    """All strings (keys too) and integers of six digits and more; None if ``source`` is no JSON."""
    try:
        json.loads(source)
    except (ValueError, RecursionError):
        return None
    found: list[Leaf] = []
    name = ""
    for match in _LITERAL.finditer(source):
        literal = match[0]
        if literal[0] == '"':
            text = json.loads(literal)
            is_name = _NAME_FOLLOWS.match(source, match.end()) is not None
            found.append(Leaf(match.start(), match.end(), "" if is_name else name, text, quoted=True))
            name = text if is_name else name
        elif literal[0] in "-0123456789":
            found.append(Leaf(match.start(), match.end(), name, literal, quoted=False))
        elif literal in "{}":
            name = ""
    return found


def rebuilt(source: str, found: Sequence[Leaf], texts: Sequence[str]) -> str:
    """``source`` with ``texts`` for the leaves that differ; a changed number becomes a string."""
    pieces, place = [], 0
    for leaf, text in zip(found, texts, strict=True):
        if text != leaf.text:
            pieces += [source[place : leaf.start], json.dumps(text)]
            place = leaf.end
    pieces.append(source[place:])
    return "".join(pieces)
