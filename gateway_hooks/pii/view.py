"""One byte per character, so that byte patterns give character offsets, and no disguise is left.

``clean`` is the text without zero-width characters and with full-width digits, no-break spaces and
typographic dashes in their ASCII form. ``data`` is ``clean`` in Latin-1: other letters become ``\\xe9``,
other characters, and scripts that do not part words by spaces, become ``\\xbf``, which is no part of a word.
NUL stands for what is not to be looked at (placeholders, borders between texts): no built-in pattern crosses
it, nor does a text hold one.
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain, pairwise

BORDER = "\0"
_NEXT_LINE = 0x85
_KEPT = "\t\n\r"
_CONTROLS = bytes(code for code in (*range(32), 127) if chr(code) not in _KEPT)
_LATIN_CONTROLS = _CONTROLS + bytes(code for code in range(0x80, 0xA0) if code != _NEXT_LINE) + b"\xad"
_LATIN_FOLD = bytes.maketrans(b"\xa0\x85", b" \n")
_LETTER, _OTHER = "\xe9", "\xbf"
_LATIN1 = 0x100
_UNSPACED = (
    "CJK",
    "HIRAGANA",
    "KATAKANA",
    "HANGUL",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
    "BOPOMOFO",
    "IDEOGRAPH",
)


def _folded(code: int) -> str | None:
    """The plain form of one character, None if it is invisible."""
    char = chr(code)
    category = unicodedata.category(char)
    if char in _KEPT:
        return char
    if category in ("Zl", "Zp") or code == _NEXT_LINE:
        return "\n"
    if category in ("Cc", "Cf") or unicodedata.name(char, "").startswith("VARIATION SELECTOR"):
        return None
    return _visible(char, category)


def _visible(char: str, category: str) -> str:
    if category == "Zs":
        return " "
    if category == "Pd" or char == "\N{MINUS SIGN}":
        return "-"
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if ord(char) < _LATIN1:
        return char
    plain = unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 and plain.isascii() and plain.isprintable() else char


def _latin(code: int) -> str:
    char = chr(code)
    if code < _LATIN1:
        return char
    if not char.isalpha() or unicodedata.name(char, "").startswith(_UNSPACED):
        return _OTHER
    return _LETTER


class _Folds(dict[int, str | None]):
    def __missing__(self, code: int) -> str | None:
        self[code] = folded = _folded(code)
        return folded


class _Latins(dict[int, str]):
    def __missing__(self, code: int) -> str:
        self[code] = latin = _latin(code)
        return latin


_FOLDS = _Folds()
_LATINS = _Latins()


def fold(text: str) -> tuple[str, bytes, list[int] | None]:
    """``clean``, its ``data`` and, if characters fell out, where in ``text`` each of its own stands."""
    try:
        raw = text.encode("latin-1")
    except UnicodeEncodeError:
        return _fold_any(text)
    ascii_only = text.isascii()
    data = raw.translate(None, _CONTROLS) if ascii_only else raw.translate(_LATIN_FOLD, _LATIN_CONTROLS)
    if len(data) != len(raw):
        return _fold_any(text)
    return (text if ascii_only else data.decode("latin-1")), data, None


def _fold_any(text: str) -> tuple[str, bytes, list[int] | None]:
    clean = text.translate(_FOLDS)
    data = clean.translate(_LATINS).encode("latin-1")
    if len(clean) == len(text):
        return clean, data, None
    return clean, data, [place for place, char in enumerate(text) if _FOLDS[ord(char)] is not None]


class View:
    """Some texts in one row, parted by borders; every offset below is one into ``data`` unless it says
    otherwise.
    """

    __slots__ = ("bases", "clean", "data", "lengths", "places")

    def __init__(self, texts: Sequence[str]) -> None:
        folded = [fold(text) for text in texts]
        self.clean = BORDER.join(clean for clean, _, _ in folded)
        self.data = b"\0".join(data for _, data, _ in folded)
        self.places = [places for _, _, places in folded]
        self.lengths = [len(text) for text in texts]
        self.bases: list[int] = []
        base = 0
        for _, data, _ in folded:
            self.bases.append(base)
            base += len(data) + 1

    def original(self, index: int, start: int, end: int) -> tuple[int, int]:
        """A non-empty range of ``data`` within text ``index``, as a range of that text."""
        places, base = self.places[index], self.bases[index]
        if places is None:
            return start - base, end - base
        return places[start - base], places[end - base - 1] + 1

    def within(self, index: int, start: int, end: int) -> tuple[int, int]:
        """The reverse of ``original``; invisible characters at the edges fall away."""
        places, base = self.places[index], self.bases[index]
        if places is None:
            return start + base, end + base
        return bisect_left(places, start) + base, bisect_left(places, end) + base

    def blank(self, ranges: Sequence[tuple[int, int]]) -> None:
        """From now on nothing is found in these ranges; sorted, without overlaps."""
        edges = chain([0], chain.from_iterable(ranges), [len(self.data)])
        data, clean = self.data, self.clean
        kept_data: list[bytes] = []
        kept_clean: list[str] = []
        for number, (start, end) in enumerate(pairwise(edges)):
            blank = number % 2
            kept_data.append(bytes(end - start) if blank else data[start:end])
            kept_clean.append(BORDER * (end - start) if blank else clean[start:end])
        self.data, self.clean = b"".join(kept_data), "".join(kept_clean)
