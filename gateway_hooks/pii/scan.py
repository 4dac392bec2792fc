"""What all detectors share while they look at one view: its bytes, its words, what is wanted."""

from collections.abc import Callable, Iterator

import re2

from gateway_hooks.pii.contexts import Contexts
from gateway_hooks.pii.spans import Span
from gateway_hooks.pii.view import View

PULSE = 128
"""After so many candidates a detector yields None, so that a caller on an event loop may let others run."""

Finds = Iterator[Span | None]


def regex(pattern: str, *, capture: bool = False) -> "re2._Regexp":
    """A byte pattern: linear by construction; without groups the automaton alone finds it."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = not capture
    return re2.compile(pattern.encode("latin-1"), options)


_UUID = regex(r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_SINGLES = regex(r"(?:[0-9][ \-]){21,}[0-9]?")
_UUID_HYPHENS = 4
_MANY = 1000


class Scan:
    """``data`` is the view's with all that is surely no number, but looks like many, turned into letters.

    That is UUIDs, and rows of more single digits than any value has.
    """

    __slots__ = ("_contexts", "data", "view", "wanted")

    def __init__(self, view: View, wanted: frozenset[str]) -> None:
        self.view = view
        self.data = _without_decoys(view.data)
        self.wanted = wanted
        self._contexts: Contexts | None = None

    @property
    def contexts(self) -> Contexts:
        if self._contexts is None:
            for _ in self.read_contexts():
                pass
        return self._contexts or Contexts(b"")

    def read_contexts(self) -> Iterator[None]:
        """What ``contexts`` would otherwise do at once."""
        contexts = Contexts(self.data)
        yield from contexts.read()
        self._contexts = contexts


Detector = Callable[[Scan], Finds]


def _without_decoys(data: bytes) -> bytes:
    places: list[tuple[int, int]] = []
    if data.count(b"-") >= _UUID_HYPHENS:
        places += [match.span() for match in _UUID.finditer(data)]
    if len(data) > _MANY:
        places += [match.span() for match in _SINGLES.finditer(data)]
    if not places:
        return data
    changed = bytearray(data)
    for start, end in places:
        changed[start:end] = b"x" * (end - start)
    return bytes(changed)


_ALNUM = frozenset(code for code in range(256) if chr(code).isalnum() and chr(code) not in "²³¹¼½¾")
_DIGITS = frozenset(b"0123456789")
_PRICES = frozenset("$£¥¤".encode("latin-1"))


def starts_clean(data: bytes, start: int) -> bool:
    """Nothing before makes it the tail of a longer number, word, version or price."""
    if not start:
        return True
    before = data[start - 1]
    if before in _ALNUM or before in _PRICES or before == ord("+"):
        return False
    return before not in b".-/" or start == 1 or data[start - 2] not in _DIGITS


def ends_clean(data: bytes, end: int) -> bool:
    """Nothing after makes it the head of a longer one."""
    if end >= len(data):
        return True
    after = data[end]
    if after in _ALNUM or after == ord("%"):
        return False
    if end + 1 >= len(data) or after not in b".-/":
        return True
    return data[end + 1] not in (_ALNUM if after == ord("-") else _DIGITS)
