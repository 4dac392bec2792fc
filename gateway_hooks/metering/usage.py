"""The engine's own token counts, read from the bytes that come from it, before anything rewrites them.

Chat, completions and embeddings say ``usage: {prompt_tokens, completion_tokens, prompt_tokens_details}``;
responses say ``usage: {input_tokens, output_tokens, input_tokens_details}``, in a stream inside ``response``.
"""

import msgspec

_MARK = b'"usage"'
_DATA = b"data:"
_DONE = b"[DONE]"
_EVENT = b"event: response."
_DELTA = b".delta\n"
_RESPONSE_ENDS = (b"response.completed", b"response.incomplete")
MAX_LINE = 8 * 1024 * 1024


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _RawUsage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None


class _Inner(msgspec.Struct):
    usage: _RawUsage | None = None


class _Answer(msgspec.Struct):
    usage: _RawUsage | None = None
    response: _Inner | None = None


_decoder = msgspec.json.Decoder(_Answer)


def usage_of(raw: bytes) -> Usage | None:
    """What one JSON document says, or None."""
    try:
        answer = _decoder.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    usage = answer.usage or (answer.response.usage if answer.response else None)
    if usage is None:
        return None
    prompt = usage.prompt_tokens if usage.prompt_tokens is not None else usage.input_tokens
    if prompt is None:
        return None
    details = usage.prompt_tokens_details or usage.input_tokens_details
    completion = usage.completion_tokens if usage.completion_tokens is not None else usage.output_tokens
    return Usage(prompt, (details.cached_tokens if details else None) or 0, completion or 0)


def _begin_with(mark: bytes, lines: bytes) -> int:
    """How many of the whole ``lines`` do; JSON has no raw line end, so no text can look like one."""
    return lines.startswith(mark) + lines.count(b"\n" + mark)


class UsageTap:
    """Fed with the upstream's bytes as they pass; knows afterwards what the engine reported.

    ``complete`` is whether a stream reached its end mark (or a plain answer was read whole). With ``keep`` a
    stream's whole lines can be taken once. ``events`` counts a stream's pieces of output, each of at least
    one token, and the few that only frame it.
    """

    def __init__(self, *, stream: bool, keep: bool = False) -> None:
        self._stream = stream
        self._rest = bytearray()
        self._kept = bytearray()
        self.keeps = stream and keep
        self.usage: Usage | None = None
        self.complete = False
        self.events = 0
        self._named = False

    def feed(self, chunk: bytes) -> None:
        """Lines are split at the byte \\n alone: U+2028 and its like may stand raw inside JSON."""
        self._rest += chunk
        if not self._stream:
            return
        end = self._rest.rfind(b"\n")
        if end < 0:
            return
        whole = bytes(self._rest[: end + 1])
        del self._rest[: end + 1]
        self._count(whole)
        if self.keeps:
            self._kept += whole
        if _MARK in whole or _DONE in whole:
            for line in whole.split(b"\n"):
                self._line(line)

    def _count(self, lines: bytes) -> None:
        self._named = self._named or _begin_with(_EVENT, lines) > 0
        # Where events have names, one piece of text is framed by several that are no output.
        self.events += lines.count(_DELTA) if self._named else _begin_with(_DATA, lines)

    def take(self) -> bytes:
        """The lines since the last call."""
        taken = bytes(self._kept)
        self._kept.clear()
        return taken

    def _line(self, line: bytes) -> None:
        if not line.startswith(_DATA):
            return
        data = line[len(_DATA) :].strip()
        if data == _DONE:
            self.complete = True
        elif _MARK in data:
            found = usage_of(data)
            if found is not None:
                self.usage = found
                self.complete = self.complete or any(mark in data for mark in _RESPONSE_ENDS)

    def end(self) -> None:
        """The upstream closed the answer properly."""
        if not self._stream:
            self.usage = usage_of(bytes(self._rest))
            self.complete = True
