"""The door as ASGI, outermost around vLLM's app: HTTP and websockets alike, default deny.

vLLM imports it by name (``--middleware``); if that fails, vLLM does not start.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NoReturn

from gateway_hooks.contract.identity import HEADER, Identity
from inference.adapter_bank import AdapterBank, AdapterError
from inference.door import READ_PATHS, WORK_PATHS, Door, DoorError, rewrite
from inference.vllm_adapter import logs, worker

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Mapping[str, Any], Receive, Send], Awaitable[None]]

IN_FLIGHT_HEADER = b"x-tenantry-in-flight"
# All that vLLM gets to see of a request's headers: nobody's name, no priority, no trace.
_PASSED_HEADERS = frozenset({b"accept", b"content-type", b"host", b"user-agent"})
_POLICY_VIOLATION = 1008


class ClientGoneError(Exception):
    """The caller hung up before its body was complete."""


class DoorMiddleware:
    """Built by vLLM with nothing but the app, so its parts come from the process's ``worker``."""

    def __init__(self, app: App) -> None:
        logs.speak()
        self._app = app
        parts = worker.current()
        self._door: Door = parts.door
        self._bank: AdapterBank = parts.bank
        self._max_body_bytes = parts.max_body_bytes
        self._in_flight = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            identity, body = await self._admit(scope, receive)
            if scope["path"] in WORK_PATHS:
                await self._work(scope, receive, send, identity=identity, body=body)
            else:
                await self._app(_inner_scope(scope, b"", None), _replay(b"", receive), self._counting(send))
        except (DoorError, AdapterError) as refused:
            # A path of the caller's own making may hold anything; it is not for the log.
            known = scope["path"] in WORK_PATHS | READ_PATHS
            log.info("refused %s: %s", scope["path"] if known else "an unlisted path", refused.code)
            await _answer(send, refused.status, refused.code, str(refused))
        except ClientGoneError:
            return

    async def _admit(self, scope: Mapping[str, Any], receive: Receive) -> tuple[Identity, bytes]:
        tokens = [value for name, value in scope["headers"] if name == HEADER.encode()]
        token = tokens[0].decode("latin-1") if len(tokens) == 1 else None
        method, path = scope["method"], scope["path"]
        self._door.check_target(method, path, scope.get("query_string", b""), token)
        assert token is not None  # noqa: S101 - check_target refused it
        body = await self._read(scope, receive)
        return self._door.identify(method, path, token, body, now=time.time()), body

    async def _work(
        self,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
        *,
        identity: Identity,
        body: bytes,
    ) -> None:
        self._door.check_model(identity)
        body, request_id = rewrite(identity, scope["path"], body)
        if identity.adapter_digest is not None and self._bank.get(identity.adapter_digest) is None:
            await asyncio.to_thread(self._bank.ensure, identity.adapter_digest)
        self._in_flight += 1
        try:
            await self._app(_inner_scope(scope, body, request_id), _replay(body, receive), send)
        finally:
            self._in_flight -= 1

    async def _read(self, scope: Mapping[str, Any], receive: Receive) -> bytes:
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._max_body_bytes:
                _refuse_size()
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body_bytes:
                _refuse_size()
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _counting(self, send: Send) -> Send:
        """Adds how much work is in flight, so that a drain knows when it is over."""

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), (IN_FLIGHT_HEADER, str(self._in_flight).encode())]
                message = {**message, "headers": headers}
            await send(message)

        return counted


def _refuse_size() -> NoReturn:
    message = "the body is too large"
    raise DoorError(message, code="body_too_large", status=413)


def _inner_scope(
    scope: MutableMapping[str, Any], body: bytes, request_id: str | None
) -> MutableMapping[str, Any]:
    headers = [(name, value) for name, value in scope["headers"] if name in _PASSED_HEADERS]
    headers.append((b"content-length", str(len(body)).encode()))
    if request_id is not None:
        headers.append((b"x-request-id", request_id.encode()))
    return {**scope, "headers": headers}


def _replay(body: bytes, receive: Receive) -> Receive:
    """The read body as one message; after it whatever comes, which is the client hanging up."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _answer(send: Send, status: int, code: str, message: str) -> None:
    content = json.dumps({"error": {"code": code, "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
