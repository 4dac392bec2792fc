"""The ASGI application around LiteLLM's: what it does not list does not exist; every request ends once."""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec

from gateway_hooks.contract.snapshot import Target
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.answer import Answer, error_body, send_json
from gateway_hooks.gateway.attempts import Attempts
from gateway_hooks.gateway.body.endpoints import BY_PATH, Endpoint
from gateway_hooks.gateway.body.parse import Body, parse
from gateway_hooks.gateway.desk import Desk
from gateway_hooks.gateway.failure import outcome_of
from gateway_hooks.gateway.inner import App
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
from gateway_hooks.gateway.reports import log_error
from gateway_hooks.gateway.services import Services
from gateway_hooks.gateway.shadow import Shadows
from gateway_hooks.gateway.ticket import CURRENT, Ticket
from gateway_hooks.identity import Caller
from gateway_hooks.identity.address import client_address
from gateway_hooks.identity.end_user import end_user_for
from gateway_hooks.metrics.answer import CONTENT_TYPE, metrics_answer

CLIENT_CLOSED = 499
_HEALTH = "/healthz"
_READY = "/readyz"
_METRICS = "/metrics"
_LOOKS = frozenset({_HEALTH, _READY, _METRICS, MODELS})
_OK = 200
_DRAINS = 3
"""LiteLLM has one drain time to stop after an answer and one after a cut; the end needs its own."""


class Wrapper:
    """``inner`` is LiteLLM's app; nothing of a client's request reaches it but a checked body."""

    def __init__(self, inner: App, services: Services) -> None:
        self._services = services
        self._desk = Desk(services)
        self._attempts = Attempts(inner, services)
        self._shadows = Shadows(services, self._attempts, self._desk, may_enter=_has_room(services))
        self._serving: set[asyncio.Task[Any]] = set()

    async def drain(self) -> None:
        """Wait for requests that the server has cut off, and for what their ends have to tell."""
        if self._serving:
            await asyncio.wait(
                self._serving, timeout=_DRAINS * self._services.settings.drain_timeout.total_seconds()
            )
        await self._shadows.drain()
        await self._desk.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        path, method = scope["path"], scope["method"]
        endpoint = BY_PATH.get(path)
        if endpoint is not None and method == "POST":
            await self._serve_tracked(endpoint, scope, receive, send)
        elif method == "GET" and (path in _LOOKS or path.startswith(MODELS + "/")):
            await self._look(path, scope, send)
        else:
            known = endpoint is not None or path in _LOOKS
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
            elif path == _METRICS:
                await self._show_metrics(scope, send)
            else:
                caller = self._identify(scope, anthropic=True)
                answer = models_answer(
                    caller.tenant, path, published=self._services.store.loaded_at, aliases=caller.aliases
                )
                await send_json(send, status=200, body=msgspec.json.encode(answer), headers=[])
        except GatewayError as error:
            await _refuse(send, error)

    async def _show_metrics(self, scope: Scope, send: Send) -> None:
        token, render = self._services.settings.metrics_token, self._services.metrics.render
        status, body = await asyncio.to_thread(metrics_answer, scope["headers"], token, render)
        kind = CONTENT_TYPE if status == _OK else b"application/json"
        await send_json(send, status=status, body=body, headers=[], kind=kind)

    def _identify(self, scope: Scope, *, anthropic: bool) -> Caller:
        snapshot = self._services.store.current
        if snapshot is None:
            raise GatewayError(Code.CONFIG_UNAVAILABLE, retry_after=2.0)
        sent = credential(scope["headers"], anthropic=anthropic)
        address = client_address(scope, self._services.settings.trusted_proxies)
        index = self._services.identity.of(snapshot)
        return index.identify(sent, address=address, now=self._services.clock())

    async def _serve_tracked(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if task is None:
            message = "a request runs in a task"
            raise RuntimeError(message)
        self._serving.add(task)
        try:
            await self._serve(endpoint, scope, receive, send)
        finally:
            self._serving.discard(task)

    async def _serve(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        ticket = Ticket(
            request_id=secrets.token_hex(16),
            endpoint=endpoint,
            ts=self._services.clock(),
            started=time.monotonic(),
            snapshot_version=self._services.store.version,
        )
        CURRENT.set(ticket)
        exchange = _Exchange(
            lambda: Answer(send, ticket, clock=time.monotonic, finish=lambda: self._desk.finish(ticket))
        )
        try:
            body = await self._read(ticket, scope, receive)
            await self._run(ticket, body, receive, exchange)
        except ClientGone:
            ticket.outcome, ticket.status, ticket.reason = (
                "disconnected",
                CLIENT_CLOSED,
                "client_disconnected",
            )
        except GatewayError as error:
            await self._end(ticket, exchange.answer, error)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request: it must end for the client, too
            log_error("failed", ticket, error)
            await self._end(ticket, exchange.answer, GatewayError(Code.GATEWAY_ERROR))
        except asyncio.CancelledError:
            ticket.reason = "gateway_stopped"
            raise
        finally:
            await self._desk.finish(ticket)

    async def _read(self, ticket: Ticket, scope: Scope, receive: Receive) -> Body:
        caller = ticket.caller = self._identify(scope, anthropic=ticket.endpoint.name == "messages")
        settings = self._services.settings
        try:
            async with asyncio.timeout(settings.body_timeout.total_seconds()):
                raw = await read_body(receive, scope["headers"], limit=settings.body_limit)
        except TimeoutError:
            raise GatewayError(Code.BODY_TIMEOUT) from None
        body = ticket.body = parse(raw, ticket.endpoint)
        caller.require_alias(body.alias)
        ticket.end_user = end_user_for(caller, body.end_user, secret=settings.salt_secret)
        self._services.dead_letters.refuse_known(caller.tenant.id, ticket.endpoint.name, body.fields)
        return body

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

    async def _run(self, ticket: Ticket, body: Body, receive: Receive, exchange: "_Exchange") -> None:
        """From the admission to the answer, as long as the client is there."""
        snapshot, caller = self._services.store.current, ticket.caller
        if snapshot is None or caller is None:
            raise GatewayError(Code.CONFIG_UNAVAILABLE)
        gone = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            fields = await self._desk.admit(ticket, snapshot, caller, body, gone=gone)
            await self._attempts.run(ticket, fields, fresh=exchange.fresh, gone=gone)
        finally:
            gone.cancel()
        self._shadows.follow(ticket)


class _Exchange:
    """The way to the client: one answer for each try, the newest for whatever ends the request."""

    def __init__(self, make: Callable[[], Answer]) -> None:
        self._make = make
        self.answer = make()

    def fresh(self) -> Answer:
        self.answer = self._make()
        return self.answer


def _has_room(services: Services) -> Callable[[Target], bool]:
    """Whether nobody of this process waits for the pool: a copy must not be before a request."""
    return lambda target: not services.queue.waiting(target.pool_id)


async def _refuse(send: Send, error: GatewayError) -> None:
    await send_json(send, status=error.status, body=error_body(error), headers=retry_after_header(error))


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
