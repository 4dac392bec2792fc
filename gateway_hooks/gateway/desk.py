"""From a body to an admitted ticket: resolve, clamp, price, choose a worker, admit. And back again, once."""

import asyncio
import time
from zoneinfo import ZoneInfo

import msgspec
from redis.asyncio.client import Pipeline

from gateway_hooks.admission.verdict import Ask, Scope
from gateway_hooks.contract import keys
from gateway_hooks.contract.identity import adapter_model_name, cache_salt
from gateway_hooks.contract.pricing import Price, worst_case_micro
from gateway_hooks.contract.snapshot import Pool, Route, Snapshot
from gateway_hooks.contract.usage import encode_event
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.account import event_of, settlement
from gateway_hooks.gateway.body.bound import prompt_bound
from gateway_hooks.gateway.body.parse import Body, clamp_output
from gateway_hooks.gateway.limits_view import refusal_error
from gateway_hooks.gateway.seal import Seal
from gateway_hooks.gateway.services import Services
from gateway_hooks.gateway.ticket import Forward, Ticket
from gateway_hooks.identity import Caller
from gateway_hooks.redis_door import RedisAway
from gateway_hooks.routing import resolve

UNKNOWN_EVENTS_PER_MINUTE = 60
_MINUTE = 60.0


class Desk:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._finishing: set[asyncio.Task[None]] = set()
        self._unknown_since = 0.0
        self._unknown = 0

    async def admit(self, ticket: Ticket, snapshot: Snapshot, caller: Caller, body: Body) -> bytes:
        """The body for LiteLLM; everything that the request took is noted on the ticket."""
        route, pool, price = self._resolve(ticket, snapshot, caller, body)
        fields, max_output = clamp_output(
            body, ticket.endpoint, limit=min(caller.tenant.max_output_tokens, pool.max_model_len - 1)
        )
        bound = min(prompt_bound(fields), pool.max_model_len)
        ticket.ts = self._services.clock()
        ask = self._ask(ticket, caller, price, prompt=bound, max_output=max_output)
        worker = self._services.workers.choose(route)
        await self._take(ticket, caller, ask)
        self._services.workers.take(worker.id)
        digest = route.adapter_digest
        seal = Seal(
            path=ticket.endpoint.upstream,
            model=adapter_model_name(digest) if digest else route.base_model,
            cache_salt=cache_salt(
                self._services.settings.salt_secret, tenant_id=caller.tenant.id, adapter_digest=digest
            ),
            max_output=max_output,
            stream=body.stream,
        )
        ticket.forward = Forward(caller, route, pool, worker, body.alias, seal)
        return msgspec.json.encode(fields)

    def _resolve(
        self, ticket: Ticket, snapshot: Snapshot, caller: Caller, body: Body
    ) -> tuple[Route, Pool, Price]:
        route = ticket.route = resolve(caller.tenant, body.alias)
        pool = snapshot.pools.get(route.pool_id)
        if pool is None:
            raise GatewayError(Code.NO_WORKER)
        if ticket.endpoint.name not in pool.endpoints:
            raise GatewayError(Code.ENDPOINT_NOT_SUPPORTED)
        if route.price is None:
            raise GatewayError(Code.PRICE_MISSING)
        return route, pool, route.price

    def _ask(self, ticket: Ticket, caller: Caller, price: Price, *, prompt: int, max_output: int) -> Ask:
        tenant, settings = caller.tenant, self._services.settings
        lease = tenant.request_timeout_seconds + settings.lease_margin.total_seconds()
        return Ask(
            request_id=ticket.request_id,
            tenant_id=tenant.id,
            month=ticket.ts.astimezone(ZoneInfo(tenant.billing_timezone)).strftime("%Y-%m"),
            tokens=prompt + max_output,
            micro=worst_case_micro(price, prompt_tokens=prompt, max_output_tokens=max_output),
            lease_ms=round(lease * 1000),
            at_ms=round(ticket.ts.timestamp() * 1000),
            scopes=(
                Scope(keys.TENANT_SCOPE, tenant.limits),
                Scope(keys.key_scope(caller.key.id), caller.key.limits),
            ),
        )

    async def _take(self, ticket: Ticket, caller: Caller, ask: Ask) -> None:
        now = time.monotonic()
        # Noted before asking: an answer that never came may still have taken, so the end gives it back.
        ticket.ask = ask
        try:
            verdict = await self._services.door.ask(lambda _: self._services.ledger.admit(ask), now=now)
        except RedisAway:
            self._services.outage.admit(caller.tenant, caller.key, now=now)
            return
        ticket.verdict = verdict
        if verdict.refusal is not None:
            raise refusal_error(verdict)

    async def finish(self, ticket: Ticket) -> None:
        """Give everything back and emit the event: the first call does, however many there are.

        It runs in a task of its own, so that a cancelled request still ends properly.
        """
        if ticket.closed:
            return
        ticket.closed = True
        task = asyncio.create_task(self._finish(ticket))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait for the ends that are still on their way."""
        await asyncio.gather(*self._finishing, return_exceptions=True)

    async def _finish(self, ticket: Ticket) -> None:
        if ticket.forward is not None:
            self._services.workers.give_back(ticket.forward.worker.id)
        now = time.monotonic()
        if ticket.caller is None and not self._unknown_counts(now):
            return
        ask = None if ticket.refused else ticket.ask
        known = settlement(ticket)

        async def give_back(pipeline: Pipeline) -> None:
            if ask is not None:
                await self._services.ledger.finish(pipeline, ask, tokens=known.tokens, micro=known.micro)

        event = event_of(ticket, gateway_id=self._services.settings.gateway_id, now=now)
        await self._services.emitter.emit(encode_event(event), now=now, before=give_back)

    def _unknown_counts(self, now: float) -> bool:
        """Events of unidentified callers are bounded: anybody can make them."""
        if now - self._unknown_since >= _MINUTE:
            self._unknown_since, self._unknown = now, 0
        self._unknown += 1
        return self._unknown <= UNKNOWN_EVENTS_PER_MINUTE
