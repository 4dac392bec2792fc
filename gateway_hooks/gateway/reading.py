"""Reading a request: its body within a cap, its key from the headers that may carry one."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from gateway_hooks.errors import Code, GatewayError

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

_BEARER = b"bearer "


class ClientGone(Exception):  # noqa: N818 - not an error: people hang up
    """The client closed the connection."""


def credential(headers: Headers, *, anthropic: bool) -> str | None:
    """The API key as sent. Two different ones in one request are as good as none."""
    found = set()
    for name, value in headers:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            found.add(value[len(_BEARER) :].strip())
        elif anthropic and name == b"x-api-key":
            found.add(value.strip())
    if len(found) != 1:
        return None
    return found.pop().decode("latin-1")


def declared_length(headers: Headers) -> int:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


async def read_body(receive: Receive, headers: Headers, *, limit: int) -> bytes:
    """The whole body, of at most ``limit`` bytes. Raises ``GatewayError``, ``ClientGone``."""
    if declared_length(headers) > limit:
        raise GatewayError(Code.BODY_TOO_LARGE, f"The request body is larger than {limit} bytes.")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise GatewayError(Code.BODY_TOO_LARGE, f"The request body is larger than {limit} bytes.")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
