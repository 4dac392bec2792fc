"""Copies for a version on trial: sent after the answer, waited for by nobody, paid by nobody.

A copy has a ticket of its own: no limits, no reservation, one event that names what it copies. It takes a
seat in the pool out of its tenant's share, like any request, but waits for none. Dropped where there is no
room: a few at a time per process, fewer of one tenant, and never on a worker that is full.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec

from gateway_hooks.contract.snapshot import Target
from gateway_hooks.contract.usage import Outcome
from gateway_hooks.errors import GatewayError
from gateway_hooks.fairness.ask import SeatAsk
from gateway_hooks.fairness.errors import FairnessError
from gateway_hooks.gateway.admitting import last_words
from gateway_hooks.gateway.answer import Answer
from gateway_hooks.gateway.attempts import Attempts
from gateway_hooks.gateway.body.parse import Body
from gateway_hooks.gateway.desk import Desk
from gateway_hooks.gateway.failure import outcome_of
from gateway_hooks.gateway.reading import Message
from gateway_hooks.gateway.reports import log_error
from gateway_hooks.gateway.services import Services
from gateway_hooks.gateway.ticket import CURRENT, Plan, Ticket
from gateway_hooks.redis_door import RedisAway

MAX_IN_FLIGHT = 4
MAX_OF_A_TENANT = 2
_STREAMED = ("stream", "stream_options")


class Shadows:
    """``may_enter`` says whether a pool has room to spare."""

    def __init__(
        self,
        services: Services,
        attempts: Attempts,
        desk: Desk,
        *,
        may_enter: Callable[[Target], bool] = lambda _: True,
    ) -> None:
        self._services = services
        self._attempts = attempts
        self._desk = desk
        self._may_enter = may_enter
        self._tasks: dict[asyncio.Task[None], str] = {}
        """Each with its tenant's id."""
        self.dropped = 0

    def follow(self, ticket: Ticket) -> None:
        """After a completed request: send its copy, if its conversation is in the share. Never waits.

        It gets the body that the answer was made for, masked where the tenant's policy masks.
        """
        plan, seat = ticket.plan, ticket.seat
        if plan is None or plan.shadow is None or ticket.fields is None or ticket.outcome != "completed":
            return
        if seat is None or not self._has_room(plan, plan.shadow):
            self.dropped += 1
            return
        copy = self._copy(ticket, plan, plan.shadow)
        ask = self._seat_ask(copy, plan, plan.shadow, tokens=seat.ask.tokens)
        task = asyncio.create_task(self._run(copy, ask, unstreamed(ticket.fields)))
        self._tasks[task] = plan.caller.tenant.id
        task.add_done_callback(self._tasks.pop)

    async def drain(self) -> None:
        """Cut the copies off: nobody waits for them."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _has_room(self, plan: Plan, target: Target) -> bool:
        router, tenant_id = self._services.router, plan.caller.tenant.id
        own = sum(owner == tenant_id for owner in self._tasks.values())
        if len(self._tasks) >= MAX_IN_FLIGHT or own >= MAX_OF_A_TENANT or not self._may_enter(target):
            return False
        worker = router.place(target, tenant_id=tenant_id, now=time.monotonic())
        return worker is not None and self._services.workers.loads.get(worker.id, 0) < worker.max_num_seqs

    def _copy(self, ticket: Ticket, plan: Plan, target: Target) -> Ticket:
        body = ticket.body
        return Ticket(
            request_id=secrets.token_hex(16),
            endpoint=ticket.endpoint,
            ts=self._services.clock(),
            started=time.monotonic(),
            snapshot_version=ticket.snapshot_version,
            caller=ticket.caller,
            body=None if body is None else _plain(body),
            plan=plan._replace(target=target, served="shadow", fallback=None, shadow=None),
            route=target,
            shadow_of=ticket.request_id,
        )

    def _seat_ask(self, copy: Ticket, plan: Plan, target: Target, *, tokens: int) -> SeatAsk:
        """At once or not at all. In its tenant's own band and weight: another band would forget its share."""
        tenant = plan.caller.tenant
        return SeatAsk(
            pool_id=target.pool_id,
            request_id=copy.request_id,
            tenant_id=tenant.id,
            tokens=tokens,
            weight=tenant.weight,
            band=tenant.band,
            queue_depth=0,
            wait_ms=0,
            info=last_words(self._services, copy),
        )

    async def _run(self, ticket: Ticket, ask: SeatAsk, fields: dict[str, Any]) -> None:
        services = self._services
        try:
            ticket.seat = await services.door.ask(lambda _: services.queue.enter(ask), now=time.monotonic())
        except (FairnessError, RedisAway):
            self.dropped += 1
            return
        await self._send(ticket, fields)

    async def _send(self, ticket: Ticket, fields: dict[str, Any]) -> None:
        CURRENT.set(ticket)
        never: asyncio.Task[None] = asyncio.create_task(_never())
        try:
            await self._attempts.run(
                ticket, fields, fresh=lambda: self._sink(ticket), gone=never, max_tries=1
            )
        except GatewayError as error:
            _end(ticket, outcome_of(error), error.code, error.status)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a copy: it must end with an event
            log_error("failed as a copy", ticket, error)
        finally:
            never.cancel()
            await self._desk.finish(ticket)

    def _sink(self, ticket: Ticket) -> Answer:
        return Answer(_nowhere, ticket, clock=time.monotonic, finish=lambda: self._desk.finish(ticket))


def unstreamed(fields: dict[str, Any]) -> dict[str, Any]:
    """The same request for a plain answer: nobody reads a stream."""
    return {name: value for name, value in fields.items() if name not in _STREAMED}


def _plain(body: Body) -> Body:
    return msgspec.structs.replace(body, stream=False, wants_usage=False)


def _end(ticket: Ticket, outcome: Outcome, reason: str, status: int) -> None:
    ticket.outcome, ticket.reason, ticket.status = outcome, reason, status


async def _nowhere(_message: Message) -> None:
    """Nobody reads a copy's answer."""


async def _never() -> None:
    await asyncio.get_running_loop().create_future()
