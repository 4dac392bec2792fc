"""The last step out: every HTTP request that LiteLLM makes in this process passes here, and is signed.

A request without a ticket is refused, so nothing else ever leaves; a try of a ticket carries one request
only, so no retry, batch or fallback of LiteLLM's can spend it twice.
"""

import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
from litellm.llms.custom_httpx.aiohttp_transport import HttpxTimeoutExtension, LiteLLMAiohttpTransport

from gateway_hooks.contract.attempts import attempt_id
from gateway_hooks.contract.identity import HEADER, Identity, Keyring, body_sha256, sign
from gateway_hooks.gateway.rewrite import CHUNKED
from gateway_hooks.gateway.seal import parsed, sealed
from gateway_hooks.gateway.ticket import CURRENT, TRY, Forward, Ticket
from gateway_hooks.litellm_adapter.lines import SafeLines
from gateway_hooks.metering.usage import UsageTap

OK = 200
MAX_REFUSAL = 64 * 1024
NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class SigningTransport(LiteLLMAiohttpTransport):  # type: ignore[misc]
    """``keyring`` and ``connect_seconds`` are set once, before LiteLLM makes its first client."""

    keyring: Keyring
    connect_seconds: float

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        ticket = CURRENT.get()
        if ticket is not None and ticket.rehearsal is not None:
            kind = "text/event-stream" if ticket.rehearsal.startswith(b"data:") else "application/json"
            return httpx.Response(
                OK, headers={"content-type": kind}, content=ticket.rehearsal, request=request
            )
        if ticket is None or ticket.forward is None or ticket.forwarded or ticket.closed or _is_late(ticket):
            message = "no admitted request to forward"
            raise httpx.ConnectError(message, request=request)
        ticket.forwarded = True
        try:
            response: httpx.Response = await super().handle_async_request(
                self._outgoing(request, ticket, ticket.forward)
            )
        except httpx.TransportError as error:
            # No connection, so the worker never saw it: nothing to pay, no engine event to wait for. A
            # connection reset later is a ConnectError to httpx as well, but then the engine may have run.
            if isinstance(error.__cause__, NEVER_CONNECTED) and not _is_late(ticket):
                ticket.forwarded, ticket.unreachable = False, True
            raise
        if _is_late(ticket):
            message = "the request has been tried elsewhere meanwhile"
            raise httpx.ReadError(message, request=request)
        ticket.upstream_status = response.status_code
        ticket.tap = UsageTap(
            stream=ticket.stream and response.status_code == OK, keep=ticket.endpoint.name in CHUNKED
        )
        response.stream = _Tapped(response.stream, ticket, ticket.tap)
        return response

    def _outgoing(self, request: httpx.Request, ticket: Ticket, forward: Forward) -> httpx.Request:
        """A new request from what we know, with none of LiteLLM's headers."""
        given = parsed(request.content) if ticket.endpoint.translated else ticket.fields or {}
        body = sealed(given, forward.seal)
        caller, route = forward.caller, forward.route
        request_id = attempt_id(ticket.request_id, ticket.attempts)
        identity = Identity(
            request_id=request_id,
            worker_id=forward.worker.id,
            method="POST",
            path=forward.seal.path,
            body_sha256=body_sha256(body),
            issued_at=time.time(),
            tenant_id=caller.tenant.id,
            app_id=caller.key.app_id,
            key_id=caller.key.id,
            alias=forward.alias,
            model=forward.seal.model,
            adapter_version_id=route.adapter_version_id,
            adapter_digest=route.adapter_digest,
            shadow=ticket.shadow_of is not None,
            admitted_at=ticket.ts.timestamp(),
        )
        return httpx.Request(
            "POST",
            forward.worker.url.rstrip("/") + forward.seal.path,
            headers={
                "content-type": "application/json",
                "accept-encoding": "identity",
                "x-request-id": request_id,
                HEADER: sign(identity, self.keyring),
            },
            content=body,
            # The tenant's own time limit is the wrapper's; here only a dead host must not hold us up.
            extensions={"timeout": {"connect": self.connect_seconds}},
        )

    async def _make_aiohttp_request(
        self,
        client_session: aiohttp.ClientSession,
        request: httpx.Request,
        timeout: HttpxTimeoutExtension,  # noqa: ASYNC109 - LiteLLM's signature
        **kwargs: Any,
    ) -> aiohttp.ClientResponse:
        """Remember the connection, so that the wrapper can close it whatever LiteLLM does."""
        response: aiohttp.ClientResponse = await super()._make_aiohttp_request(
            client_session=client_session, request=request, timeout=timeout, **kwargs
        )
        ticket = CURRENT.get()
        if ticket is not None:
            if ticket.closed or _is_late(ticket):
                response.close()
            else:
                ticket.connection = response
        return response


def _is_late(ticket: Ticket) -> bool:
    """What an earlier try left behind must not act for the newest one."""
    return TRY.get() != ticket.attempts


class _Tapped(httpx.AsyncByteStream):
    """The upstream's bytes on their way to LiteLLM, with usage noted."""

    def __init__(self, stream: Any, ticket: Ticket, tap: UsageTap) -> None:
        self._stream = stream
        self._ticket = ticket
        self._tap = tap
        self._try = ticket.attempts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        refused = self._ticket.upstream_status != OK
        lines = SafeLines()
        async for chunk in self._stream:
            if refused and self._is_newest():
                self._ticket.upstream_text = (self._ticket.upstream_text + chunk)[:MAX_REFUSAL]
            else:
                self._tap.feed(chunk)
            yield lines.feed(chunk) if self._ticket.stream else chunk
        self._tap.end()
        if held := lines.flush():
            yield held

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _is_newest(self) -> bool:
        return self._try == self._ticket.attempts
