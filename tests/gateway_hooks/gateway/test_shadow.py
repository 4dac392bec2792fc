"""Copies are few, and none is made of what did not succeed."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from gateway_hooks.contract import pool_keys
from gateway_hooks.contract.snapshot import Share
from gateway_hooks.fairness.ask import Capacity, Seat, SeatAsk
from gateway_hooks.fairness.queue import FairQueue
from gateway_hooks.gateway.body.endpoints import BY_PATH
from gateway_hooks.gateway.body.parse import parse
from gateway_hooks.gateway.plan import plan_for
from gateway_hooks.gateway.shadow import MAX_IN_FLIGHT, MAX_OF_A_TENANT, Shadows, unstreamed
from gateway_hooks.gateway.ticket import Ticket
from gateway_hooks.identity import Caller
from gateway_hooks.redis_door import RedisDoor
from gateway_hooks.routing.health import Health
from gateway_hooks.routing.router import Router
from gateway_hooks.routing.table import WorkerTable
from tests.gateway_hooks.world import NOW, POOL, api_key, route, snapshot, tenant, worker

ENDPOINT = BY_PATH["/v1/chat/completions"]
RAW = b'{"model": "support", "messages": [{"role": "user", "content": "hi"}], "stream": true}'
SHADOWED = route("a" * 64, shadow=Share(target=route("b" * 64), basis_points=10_000))


class Slow:
    """Stands for what runs a try: it notes the ticket and ends when it is told to."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.told = asyncio.Event()

    async def run(self, ticket: Ticket, raw: bytes, **_: Any) -> None:
        assert b"stream" not in raw
        self.tickets.append(ticket)
        await self.told.wait()


class Ends:
    """Stands for the desk: it notes the ticket and gives its seat back."""

    def __init__(self, door: RedisDoor, queue: FairQueue) -> None:
        self.tickets: list[Ticket] = []
        self._door, self._queue = door, queue

    async def finish(self, ticket: Ticket) -> None:
        self.tickets.append(ticket)
        assert ticket.seat is not None
        async with self._door.client.pipeline() as pipeline:
            self._queue.finish_commands(pipeline, ticket.seat, None)
            await pipeline.execute()


class Small:
    """A pool of so many sequences."""

    def __init__(self, sequences: int) -> None:
        self._capacity = Capacity(sequences)

    def ids(self) -> list[str]:
        return []

    def capacity(self, _pool_id: str) -> Capacity:
        return self._capacity


def completed(name: str = "acme") -> Ticket:
    acme = tenant(name, {"support": SHADOWED})
    key, _ = api_key(acme.id)
    ticket = Ticket(request_id="primary", endpoint=ENDPOINT, ts=NOW, started=0.0, outcome="completed")
    ticket.body = parse(RAW, ENDPOINT)
    ticket.fields = ticket.body.fields
    ticket.caller = Caller(acme, key)
    ticket.plan = plan_for(ticket, snapshot(1, [acme], [key]), ticket.caller, ticket.body)
    ask = SeatAsk(pool_id=POOL.id, request_id="primary", tenant_id=acme.id, tokens=10)
    ticket.seat = Seat(ask=ask, waited_us=0)
    return ticket


def played(
    story: Callable[[Shadows, Slow, Ends, WorkerTable], Awaitable[None]], folder: Path, *, sequences: int = 8
) -> None:
    async def nobody(_lost: object) -> None: ...

    async def play() -> None:
        table = WorkerTable(folder / "workers.json")
        table.replace([worker("http://a", id="a")])
        door = RedisDoor(os.environ["REDIS_URL"], timeout=timedelta(seconds=5), pause=timedelta(seconds=1))
        queue = FairQueue(door.client, gateway_id="g", pools=Small(sequences), reaped=nobody)
        services: Any = SimpleNamespace(
            clock=lambda: NOW,
            router=Router(table, Health()),
            workers=table,
            door=door,
            queue=queue,
            settings=SimpleNamespace(gateway_id="g"),
        )
        await door.client.flushdb()
        attempts, ends = Slow(), Ends(door, queue)
        shadows = Shadows(services, attempts, ends)  # type: ignore[arg-type]
        try:
            await story(shadows, attempts, ends, table)
        finally:
            await shadows.drain()
            assert not await door.client.hlen(pool_keys.seats(POOL.id))
            await door.client.flushdb()
            await door.close()

    asyncio.run(play())


async def settled(shadows: Shadows, attempts: Slow) -> None:
    """Until every copy is on its way or dropped."""
    for _ in range(1000):
        if len(shadows._tasks) <= len(attempts.tickets):
            return
        await asyncio.sleep(0.01)
    raise AssertionError


def test_a_copy_is_a_request_of_its_own_without_reservation(tmp_path: Path):
    async def story(shadows: Shadows, attempts: Slow, ends: Ends, _table: WorkerTable) -> None:
        shadows.follow(completed())
        attempts.told.set()
        await asyncio.gather(*shadows._tasks)

        (copy,) = ends.tickets
        assert copy.shadow_of == "primary" != copy.request_id
        assert (copy.ask, copy.verdict, copy.stream, copy.served) == (None, None, False, "shadow")
        assert copy.plan is not None
        assert (copy.plan.fallback, copy.plan.shadow) == (None, None)

    played(story, tmp_path)


def test_there_are_a_few_at_a_time_and_the_rest_is_dropped(tmp_path: Path):
    async def story(shadows: Shadows, attempts: Slow, ends: Ends, _table: WorkerTable) -> None:
        for number in range(MAX_IN_FLIGHT + 3):
            shadows.follow(completed(f"tenant-{number}"))
        await settled(shadows, attempts)

        assert (len(attempts.tickets), shadows.dropped) == (MAX_IN_FLIGHT, 3)
        await shadows.drain()
        assert len(ends.tickets) == MAX_IN_FLIGHT

    played(story, tmp_path)


def test_one_tenant_leaves_room_for_others(tmp_path: Path):
    async def story(shadows: Shadows, attempts: Slow, _ends: Ends, _table: WorkerTable) -> None:
        for _ in range(MAX_IN_FLIGHT):
            shadows.follow(completed())
        shadows.follow(completed("other"))
        await settled(shadows, attempts)

        assert len(attempts.tickets) == MAX_OF_A_TENANT + 1 < MAX_IN_FLIGHT
        assert shadows.dropped == MAX_IN_FLIGHT - MAX_OF_A_TENANT

    played(story, tmp_path)


def test_a_copy_has_a_seat_and_without_one_it_is_dropped(tmp_path: Path):
    async def story(shadows: Shadows, attempts: Slow, ends: Ends, _table: WorkerTable) -> None:
        shadows.follow(completed())
        shadows.follow(completed("other"))
        await settled(shadows, attempts)

        assert (len(attempts.tickets), shadows.dropped) == (1, 1)
        assert attempts.tickets[0].seat is not None
        assert attempts.tickets[0].seat.ask.tokens == 10
        attempts.told.set()
        await asyncio.gather(*shadows._tasks)
        assert ends.tickets == attempts.tickets
        shadows.follow(completed("other"))
        await asyncio.gather(*shadows._tasks)
        assert (len(attempts.tickets), shadows.dropped) == (2, 1)

    played(story, tmp_path, sequences=1)


def test_a_full_worker_gets_no_copy(tmp_path: Path):
    async def story(shadows: Shadows, attempts: Slow, _ends: Ends, table: WorkerTable) -> None:
        for _ in range(8):
            table.take("a")
        shadows.follow(completed())
        await asyncio.sleep(0)

        assert (attempts.tickets, shadows.dropped) == ([], 1)

    played(story, tmp_path)


@pytest.mark.parametrize("outcome", ["upstream_error", "disconnected", "timeout", "rejected"])
def test_what_did_not_succeed_is_not_copied(tmp_path: Path, outcome: Any):
    async def story(shadows: Shadows, attempts: Slow, _ends: Ends, _table: WorkerTable) -> None:
        ticket = completed()
        ticket.outcome = outcome
        shadows.follow(ticket)
        await asyncio.sleep(0)

        assert (attempts.tickets, shadows.dropped) == ([], 0)

    played(story, tmp_path)


def test_a_copy_says_what_the_original_said_but_asks_for_no_stream():
    said = msgspec.json.decode(RAW)

    assert unstreamed(said) == {name: said[name] for name in ("model", "messages")}
