"""Line separators that are none in server-sent events, put in a form that LiteLLM does not split at.

LiteLLM's clients split a stream with ``str.splitlines()``, so a raw U+2028, U+2029 or U+0085 in a JSON
string tears an event in two, and LiteLLM drops both halves without a word. JSON knows both forms.
"""

_ESCAPED = {
    "\u2028".encode(): rb"\u2028",
    "\u2029".encode(): rb"\u2029",
    "\x85".encode(): rb"\u0085",
}
_HEADS = ("\u2028".encode()[:2], "\u2028".encode()[:1], "\x85".encode()[:1])


class SafeLines:
    """Fed with a stream's bytes as they come; holds back at most two, the head of such a character."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        raw = self._held + chunk
        self._held = next((head for head in _HEADS if raw.endswith(head)), b"")
        raw = raw.removesuffix(self._held)
        for separator, escaped in _ESCAPED.items():
            if separator in raw:
                raw = raw.replace(separator, escaped)
        return raw

    def flush(self) -> bytes:
        held, self._held = self._held, b""
        return held
