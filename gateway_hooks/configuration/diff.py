"""What changed between two versions, as a person reads it. Works on any struct of the contract."""

import difflib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

_TEXTS = frozenset({"system_prompt"})
_IGNORED = frozenset({"version", "schema_version"})


class Change(NamedTuple):
    """``before`` and ``after`` are readable values, None where the field is not set.

    ``lines`` is for long texts: each line with ``+``, ``-`` or a blank in front, far unchanged ones left out.
    """

    field: str
    before: str | None
    after: str | None
    lines: tuple[str, ...] = ()


def diff(old: msgspec.Struct | None, new: msgspec.Struct | None) -> list[Change]:
    """By field, in alphabetical order; equal fields are left out. None: nothing was set."""
    before, after = _flat(old), _flat(new)
    changed = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    return [_change(name, before.get(name), after.get(name)) for name in changed]


def _change(field: str, before: Any, after: Any) -> Change:
    lines = tuple(_line_diff(before or "", after or "")) if field in _TEXTS else ()
    return Change(field, _shown(before), _shown(after), lines)


def _line_diff(before: str, after: str) -> Iterator[str]:
    """As ``diff -u`` without its heads."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=3, lineterm="")
    return itertools.islice(lines, 2, None)


def _shown(value: Any) -> str | None:
    match value:
        case None:
            return None
        case str():
            return value
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(_shown(entry) or "none" for entry in value) or "none"
        case _:
            return msgspec.json.encode(value).decode()


def _flat(struct: msgspec.Struct | None) -> dict[str, Any]:
    """Dotted paths -> values. What is as everybody's is not there; an empty list is: it may say "none"."""
    if struct is None:
        return {}
    return dict(_leaves(msgspec.to_builtins(struct), ""))


def _leaves(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, entry in value.items():
        path = f"{prefix}{name}"
        if path in _IGNORED or entry is None or entry == "":
            continue
        if isinstance(entry, dict):
            yield from _leaves(entry, f"{path}.")
        else:
            yield path, entry
