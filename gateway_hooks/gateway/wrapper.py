"""The ASGI application around LiteLLM's: what it does not list does not exist; every request ends once."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

import msgspec

from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.answer import Answer, error_body, send_json
from gateway_hooks.gateway.body.endpoints import BY_PATH, Endpoint
from gateway_hooks.gateway.body.parse import parse
from gateway_hooks.gateway.desk import Desk
from gateway_hooks.gateway.failure import failure_of, outcome_of
from gateway_hooks.gateway.inner import body_once, inner_scope
from gateway_hooks.gateway.limits_view import retry_after_header
from gateway_hooks.gateway.models import MODELS, models_answer
from gateway_hooks.gateway.reading import (
    ClientGone,
    Receive,
    Scope,
    Send,
    credential,
    read_body,
)
from gateway_hooks.gateway.services import Services
from gateway_hooks.gateway.ticket import CURRENT, Ticket
from gateway_hooks.identity import Caller, identify

log = logging.getLogger("tenantry.gateway")

App = Callable[[Scope, Receive, Send], Awaitable[None]]
CLIENT_CLOSED = 499
_HEALTH = "/healthz"
_READY = "/readyz"


class Wrapper:
    """``inner`` is LiteLLM's app; nothing of a client's request reaches it but a checked body."""

    def __init__(self, inner: App, services: Services) -> None:
        self._inner = inner
        self._services = services
        self._desk = Desk(services)

    async def drain(self) -> None:
        await self._desk.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        path, method = scope["path"], scope["method"]
        endpoint = BY_PATH.get(path)
        if endpoint is not None and method == "POST":
            await self._serve(endpoint, scope, receive, send)
        elif method == "GET" and (
            path in {_HEALTH, _READY} or path == MODELS or path.startswith(MODELS + "/")
        ):
            await self._look(path, scope, send)
        else:
            known = endpoint is not None or path in {_HEALTH, _READY, MODELS}
            await _refuse(send, GatewayError(Code.METHOD_NOT_ALLOWED if known else Code.NOT_FOUND))

    async def _look(self, path: str, scope: Scope, send: Send) -> None:
        """The addresses that only read: no event, no limits."""
        try:
            if path == _HEALTH:
                await send_json(send, status=200, body=b'{"status":"ok"}', headers=[])
            elif path == _READY:
                ready = self._services.store.current is not None
                body = b'{"status":"ready"}' if ready else b'{"status":"waiting for configuration"}'
                await send_json(send, status=200 if ready else 503, body=body, headers=[])
            else:
                caller = self._identify(scope, anthropic=True)
                answer = models_answer(caller.tenant, path, published=self._services.store.loaded_at)
                await send_json(send, status=200, body=msgspec.json.encode(answer), headers=[])
        except GatewayError as error:
            await _refuse(send, error)

    def _identify(self, scope: Scope, *, anthropic: bool) -> Caller:
        snapshot = self._services.store.current
        if snapshot is None:
            raise GatewayError(Code.CONFIG_UNAVAILABLE, retry_after=2.0)
        sent = credential(scope["headers"], anthropic=anthropic)
        return identify(snapshot, sent, now=self._services.clock())

    async def _serve(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        ticket = Ticket(
            request_id=secrets.token_hex(16),
            endpoint=endpoint,
            ts=self._services.clock(),
            started=time.monotonic(),
            snapshot_version=self._services.store.version,
        )
        CURRENT.set(ticket)
        answer = Answer(send, ticket, clock=time.monotonic, finish=lambda: self._desk.finish(ticket))
        try:
            raw = await self._prepare(ticket, scope, receive)
            await self._forward(ticket, raw, receive, answer)
        except ClientGone:
            ticket.outcome, ticket.status, ticket.reason = (
                "disconnected",
                CLIENT_CLOSED,
                "client_disconnected",
            )
        except GatewayError as error:
            await self._end(ticket, answer, error)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request: it must end for the client, too
            _log_error("failed", ticket, error)
            await self._end(ticket, answer, GatewayError(Code.GATEWAY_ERROR))
        finally:
            await self._desk.finish(ticket)

    async def _prepare(self, ticket: Ticket, scope: Scope, receive: Receive) -> bytes:
        snapshot = self._services.store.current
        caller = ticket.caller = self._identify(scope, anthropic=ticket.endpoint.name == "messages")
        if snapshot is None:
            raise GatewayError(Code.CONFIG_UNAVAILABLE)
        settings = self._services.settings
        try:
            async with asyncio.timeout(settings.body_timeout.total_seconds()):
                raw = await read_body(receive, scope["headers"], limit=settings.body_limit)
        except TimeoutError:
            raise GatewayError(Code.BODY_TIMEOUT) from None
        body = ticket.body = parse(raw, ticket.endpoint)
        return await self._desk.admit(ticket, snapshot, caller, body)

    async def _end(self, ticket: Ticket, answer: Answer, error: GatewayError) -> None:
        """An error for the client, as an answer or as the end of a stream that has begun."""
        if answer.complete:
            return
        ticket.reason, ticket.outcome = error.code, outcome_of(error)
        if answer.started:
            await answer.break_off(error)
            return
        ticket.status = error.status
        await self._desk.finish(ticket)
        await answer.refuse(error)

    async def _forward(self, ticket: Ticket, raw: bytes, receive: Receive, answer: Answer) -> None:
        """Run LiteLLM until it has answered, the client is gone, or the tenant's time is up."""
        caller = ticket.caller
        limit = caller.tenant.request_timeout_seconds if caller else 0
        work = asyncio.create_task(self._call(ticket, raw, answer))
        gone = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            await asyncio.wait({work, gone}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if answer.complete:
                return
            if work.done():
                raise failure_of(ticket, litellm_status=answer.failed)
            if gone.done():
                raise ClientGone
            raise GatewayError(Code.UPSTREAM_TIMEOUT)
        finally:
            gone.cancel()
            await self._stop(ticket, answer, work)

    async def _stop(self, ticket: Ticket, answer: Answer, work: "asyncio.Task[None]") -> None:
        """LiteLLM gets a moment to end by itself; the worker is cut off unless it has answered in full."""
        patience = self._services.settings.drain_timeout.total_seconds()
        if answer.complete and not work.done():
            await asyncio.wait({work}, timeout=patience)
        if not work.done():
            if ticket.connection is not None:
                ticket.connection.close()
            work.cancel()
            await asyncio.wait({work}, timeout=patience)
        if work.done():
            # An exception that nobody takes would be logged by asyncio, text and all.
            _log_failure(ticket, work)
        else:
            log.error("request %s: LiteLLM did not stop", ticket.request_id)

    async def _call(self, ticket: Ticket, raw: bytes, answer: Answer) -> None:
        await self._inner(inner_scope(ticket.endpoint, raw), body_once(raw), answer)


async def _refuse(send: Send, error: GatewayError) -> None:
    await send_json(send, status=error.status, body=error_body(error), headers=retry_after_header(error))


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _log_failure(ticket: Ticket, work: "asyncio.Task[None]") -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        _log_error("failed in LiteLLM", ticket, error)


def _log_error(what: str, ticket: Ticket, error: BaseException) -> None:
    """The text of an exception may quote a prompt; its type and place may not."""
    log.error("request %s %s: %s at %s", ticket.request_id, what, type(error).__name__, _place(error))


def _place(error: BaseException) -> str:
    """``module:line`` of the innermost frame."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace is not None else "?"
