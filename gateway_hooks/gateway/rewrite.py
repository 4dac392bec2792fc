"""Small repairs of what LiteLLM answers: the alias for the worker's model name, usage only when asked for.

Bytes that need no repair are not parsed. LiteLLM 1.106.2 puts zero usage into every chunk of a completions
stream, and a choice into the usage chunk of a chat stream, where OpenAI has an empty list.
"""

from typing import Any

import msgspec

from gateway_hooks.gateway.ticket import Ticket

_DATA = b"data: "
_USAGE = b'"usage"'
_CHUNKED = frozenset({"chat.completions", "completions"})


class Rewriter:
    def __init__(self, ticket: Ticket) -> None:
        body, forward = ticket.body, ticket.forward
        self._chunked = ticket.endpoint.name in _CHUNKED
        self._wants_usage = body is not None and body.wants_usage
        self._from = b"" if forward is None else b'"model":' + msgspec.json.encode(forward.seal.model)
        self._to = b"" if forward is None else b'"model":' + msgspec.json.encode(forward.alias)

    def whole(self, body: bytes) -> bytes:
        """A plain answer."""
        return self._renamed(body)

    def event(self, event: bytes) -> bytes:
        """One server-sent event without its end; empty if the client gets nothing of it."""
        event = self._renamed(event)
        if not self._chunked or _USAGE not in event or not event.startswith(_DATA):
            return event
        chunk: dict[str, Any] = msgspec.json.decode(event[len(_DATA) :])
        usage = chunk.pop("usage", None)
        if _counts(usage):
            if not self._wants_usage and _says_nothing(chunk):
                return b""
            if self._wants_usage:
                chunk["usage"] = usage
                if _says_nothing(chunk):
                    chunk["choices"] = []
        return _DATA + msgspec.json.encode(chunk)

    def _renamed(self, raw: bytes) -> bytes:
        if self._from and self._from in raw:
            return raw.replace(self._from, self._to)
        return raw


def _counts(usage: Any) -> bool:
    return isinstance(usage, dict) and bool(usage.get("total_tokens"))


def _says_nothing(chunk: dict[str, Any]) -> bool:
    return not any(
        choice.get("finish_reason") or choice.get("delta") or choice.get("text")
        for choice in chunk.get("choices", [])
    )
