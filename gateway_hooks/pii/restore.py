"""Placeholders out, values in, while an answer streams."""

import json
from bisect import bisect_left
from collections.abc import Mapping

from gateway_hooks.pii.placeholders import MAX_LENGTH, placeholder_pattern

_PATTERN = placeholder_pattern()


class Restorer:
    """One per choice and field or tool call. Knows only the placeholders of ``mapping`` and never guesses.

    ``escape``: the text is the inside of a JSON string or a JSON text; values are escaped accordingly.
    """

    __slots__ = ("_held", "_known", "_values")

    def __init__(self, mapping: Mapping[str, str], *, escape: bool = False) -> None:
        self._values = {token: _escaped(value) for token, value in mapping.items()} if escape else mapping
        self._known = sorted(mapping)
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be passed on; only an end that could begin a known placeholder is held back."""
        text = self._held + text
        opened = text.rfind("<", max(0, len(text) - MAX_LENGTH))
        self._held = ""
        if opened >= 0 and self._begins_known(text[opened:]):
            text, self._held = text[:opened], text[opened:]
        return self._restored(text)

    def flush(self) -> str:
        """The rest, as it is: an unfinished placeholder is none."""
        text, self._held = self._held, ""
        return text

    def restore(self, text: str) -> str:
        """A whole text at once."""
        return self._restored(text)

    def _begins_known(self, end: str) -> bool:
        place = bisect_left(self._known, end)
        return place < len(self._known) and self._known[place] != end and self._known[place].startswith(end)

    def _restored(self, text: str) -> str:
        if "<" not in text or not self._known:
            return text
        return _PATTERN.sub(lambda match: self._values.get(match[0], match[0]), text)


def _escaped(value: str) -> str:
    """As inside a JSON string; what UTF-8 has no form for stays an escape."""
    plain = json.dumps(value, ensure_ascii=False)[1:-1]
    try:
        plain.encode()
    except UnicodeEncodeError:
        return json.dumps(value)[1:-1]
    return plain
