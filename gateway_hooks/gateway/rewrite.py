"""Repairs of what goes back to a client: the alias for the worker's model name, usage only when asked for,
texts restored where they were masked.

Bytes that need no repair are not parsed, and no event is parsed twice. Streams of chat completions and
completions are the engine's own events: LiteLLM 1.106.2 drops log probabilities and the finish reason of all
choices but the first, invents details of usage, and puts a choice into the usage chunk, where there is none.
"""

from typing import Any

import msgspec

from gateway_hooks.gateway.masking.answer import Unmasking
from gateway_hooks.gateway.ticket import Ticket

EVENT_END = b"\n\n"
CHUNKED = frozenset({"chat.completions", "completions"})
_DATA = b"data:"
_NAME = b"event:"
_DONE = b"[DONE]"
_USAGE = b'"usage"'
_REASONING = (b'"reasoning":', b'"reasoning_content":')
"""vLLM's name, and the one that LiteLLM gives it in whole answers and that clients know."""


class Rewriter:
    def __init__(self, ticket: Ticket) -> None:
        body, forward = ticket.body, ticket.forward
        self._chunked = ticket.endpoint.name in CHUNKED
        self._wants_usage = body is not None and body.wants_usage
        self._from = b"" if forward is None else b'"model":' + msgspec.json.encode(forward.seal.model)
        self._to = b"" if forward is None else b'"model":' + msgspec.json.encode(forward.alias)
        self._unmasking = _unmasking(ticket)

    def whole(self, body: bytes) -> bytes:
        """A plain answer. Raises ``GatewayError``: it must not be given out."""
        body = self._renamed(body)
        if self._unmasking is None or not self._unmasking.stirs(body):
            return body
        return msgspec.json.encode(self._unmasking.whole(msgspec.json.decode(body)))

    def event(self, event: bytes) -> bytes:
        """One server-sent event without its end, as the events to send with theirs; empty if there are none.

        Raises ``GatewayError``: the stream must end here.
        """
        event = self._renamed(event)
        counts = self._chunked and _USAGE in event
        unmasking = self._unmasking if self._unmasking is not None and self._unmasking.stirs(event) else None
        if not counts and unmasking is None:
            return event + EVENT_END
        named, data = _data_of(event)
        if data == _DONE and unmasking is not None:
            return _framed(unmasking.end(), named=named) + event + EVENT_END
        if not data.startswith(b"{"):
            return event + EVENT_END
        document: dict[str, Any] | None = msgspec.json.decode(data)
        if counts and document is not None:
            document = self._counted(document)
        if document is None:
            return b""
        return _framed([document] if unmasking is None else unmasking.event(document), named=named)

    def _counted(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        """Usage stands in the last chunk alone, and only if the client asked for it."""
        usage = chunk.pop("usage", None)
        if not _counts(usage):
            return chunk
        if not self._wants_usage:
            return None if _says_nothing(chunk) else chunk
        chunk["usage"] = usage
        if _says_nothing(chunk):
            chunk["choices"] = []
        return chunk

    def _renamed(self, raw: bytes) -> bytes:
        """Inside a string its quotes would be escaped, so that only names of members match."""
        if self._from and self._from in raw:
            raw = raw.replace(self._from, self._to)
        if self._chunked and _REASONING[0] in raw:
            raw = raw.replace(*_REASONING)
        return raw


def _unmasking(ticket: Ticket) -> Unmasking | None:
    """An embedding has no text."""
    mask = ticket.mask
    if mask is None or mask.idle or not ticket.endpoint.generates:
        return None
    return Unmasking(mask, ticket.endpoint.name)


def _data_of(event: bytes) -> tuple[bool, bytes]:
    """Whether the event is named, and its data."""
    named, data = False, b""
    for line in event.split(b"\n"):
        if line.startswith(_DATA):
            data = line[len(_DATA) :].strip()
        elif line.startswith(_NAME):
            named = True
    return named, data


def _framed(documents: list[dict[str, Any]], *, named: bool) -> bytes:
    frames = []
    for document in documents:
        name = _NAME + b" " + str(document.get("type", "")).encode() + b"\n" if named else b""
        frames.append(name + _DATA + b" " + msgspec.json.encode(document) + EVENT_END)
    return b"".join(frames)


def _counts(usage: Any) -> bool:
    return isinstance(usage, dict) and bool(usage.get("total_tokens"))


def _says_nothing(chunk: dict[str, Any]) -> bool:
    return not any(
        choice.get("finish_reason") or choice.get("delta") or choice.get("text")
        for choice in chunk.get("choices", [])
    )
