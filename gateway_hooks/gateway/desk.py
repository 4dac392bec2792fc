"""From a body to an admitted ticket, and back again, once."""

import asyncio
import time
from typing import Any

from redis.asyncio.client import Pipeline

from gateway_hooks.contract.snapshot import Snapshot
from gateway_hooks.contract.usage import encode_event
from gateway_hooks.gateway.account import Settlement, event_of, settlement
from gateway_hooks.gateway.admitting import refuse_again, take_limits, take_seat
from gateway_hooks.gateway.body.parse import Body
from gateway_hooks.gateway.intake import prepare
from gateway_hooks.gateway.plan import end_load, refuse_without_worker
from gateway_hooks.gateway.services import Services
from gateway_hooks.gateway.ticket import Ticket
from gateway_hooks.identity import Caller

UNKNOWN_EVENTS_PER_MINUTE = 60
_MINUTE = 60.0


class Desk:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._finishing: set[asyncio.Task[None]] = set()
        self._unknown_since = 0.0
        self._unknown = 0

    async def admit(
        self, ticket: Ticket, snapshot: Snapshot, caller: Caller, body: Body, *, gone: "asyncio.Task[None]"
    ) -> dict[str, Any]:
        """The body to send; everything that the request took is noted on the ticket.

        ``gone`` ends when the client hangs up. Raises ``GatewayError``, ``ClientGone``.
        """
        services = self._services
        refuse_again(services, ticket, caller)
        prepared = await prepare(services, ticket, snapshot, caller, body)
        refuse_without_worker(services, prepared.plan)
        ticket.ts = services.clock()
        ticket.counted_prompt = prepared.prompt_tokens
        granted = await take_limits(services, ticket, caller, prepared)
        if granted != prepared.plan.max_output:
            prepared = prepared.with_output(granted, ticket.endpoint.outputs[-1])
            ticket.plan = prepared.plan
        await take_seat(services, ticket, gone)
        return prepared.fields

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
        services = self._services
        end_load(services, ticket)
        now = time.monotonic()
        if ticket.caller is None and not self._unknown_counts(now):
            return
        known = settlement(ticket)
        self._let_go(ticket, known)

        async def give_back(pipeline: Pipeline) -> None:
            await self._give_back(pipeline, ticket, known)

        event = event_of(ticket, gateway_id=services.settings.gateway_id, now=now)
        services.metrics.observe_event(event, ticket.caller.tenant.slug if ticket.caller else None)
        self._learn_count(ticket)
        if ticket.mask is not None:
            ticket.mask.free()
        sent = await services.emitter.emit(encode_event(event), now=now, before=give_back)
        if ticket.on_allowance or not sent:
            self._give_back_later(ticket, known)

    def _let_go(self, ticket: Ticket, known: Settlement) -> None:
        """What this process holds ends now, whether or not Redis can be told."""
        if ticket.seat is not None:
            self._services.queue.end(ticket.seat, known.tokens)
        self._services.leases.drop(ticket.request_id)

    async def _give_back(self, pipeline: Pipeline, ticket: Ticket, known: Settlement) -> None:
        services, ask = self._services, ticket.ask
        if ticket.seat is not None:
            services.queue.finish_commands(pipeline, ticket.seat, known.tokens)
        if ask is None or ticket.refused:
            return
        if ticket.on_allowance:
            return
        if ticket.may_have_run:
            await services.ledger.finish(pipeline, ask, tokens=known.tokens, micro=known.micro)
        else:
            await services.ledger.cancel(pipeline, ask)

    def _give_back_later(self, ticket: Ticket, known: Settlement) -> None:
        """What ran uncounted is counted, and what was counted is ended, as soon as Redis is back."""
        ask, verdict = ticket.ask, ticket.verdict
        if ask is None or ticket.refused:
            return
        output = verdict.max_output if verdict is not None else ask.max_output
        tokens = ask.tokens(output) if known.tokens is None else known.tokens
        now_ms = round(self._services.clock().timestamp() * 1000)
        self._services.outage.note(
            ask, tokens=tokens, micro=known.micro, now_ms=now_ms, cancel=not ticket.may_have_run
        )

    def _learn_count(self, ticket: Ticket) -> None:
        """Where the engine counted more than we did, that pool is counted more carefully from now on."""
        if ticket.plan is None or ticket.counted_prompt is None or ticket.tap is None:
            return
        usage = ticket.tap.usage
        if usage is not None:
            self._services.counter.observed(
                ticket.plan.pool.id,
                ticket.endpoint.name,
                counted=ticket.counted_prompt,
                reported=usage.prompt_tokens,
                counted_at=ticket.started,
            )

    def _unknown_counts(self, now: float) -> bool:
        """Events of unidentified callers are bounded: anybody can make them."""
        if now - self._unknown_since >= _MINUTE:
            self._unknown_since, self._unknown = now, 0
        self._unknown += 1
        return self._unknown <= UNKNOWN_EVENTS_PER_MINUTE
