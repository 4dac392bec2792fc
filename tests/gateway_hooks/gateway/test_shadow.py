"""Copies are few, and none is made of what did not succeed."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from gateway_hooks.contract.snapshot import Share
from gateway_hooks.gateway.body.endpoints import BY_PATH
from gateway_hooks.gateway.body.parse import parse
from gateway_hooks.gateway.plan import plan_for
from gateway_hooks.gateway.shadow import MAX_IN_FLIGHT, Shadows, unstreamed
from gateway_hooks.gateway.ticket import Ticket
from gateway_hooks.identity import Caller
from gateway_hooks.routing.health import Health
from gateway_hooks.routing.router import Router
from gateway_hooks.routing.table import WorkerTable
from tests.gateway_hooks.world import NOW, api_key, route, snapshot, tenant, worker

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
    def __init__(self) -> None:
        self.tickets: list[Ticket] = []

    async def finish(self, ticket: Ticket) -> None:
        self.tickets.append(ticket)


def completed() -> Ticket:
    acme = tenant("acme", {"support": SHADOWED})
    key, _ = api_key(acme.id)
    ticket = Ticket(request_id="primary", endpoint=ENDPOINT, ts=NOW, started=0.0, outcome="completed")
    ticket.body = parse(RAW, ENDPOINT)
    ticket.fields = ticket.body.fields
    ticket.caller = Caller(acme, key)
    ticket.plan = plan_for(ticket, snapshot(1, [acme], [key]), ticket.caller, ticket.body)
    return ticket


def played(story: Callable[[Shadows, Slow, Ends, WorkerTable], Awaitable[None]], folder: Path) -> None:
    async def play() -> None:
        table = WorkerTable(folder / "workers.json")
        table.replace([worker("http://a", id="a")])
        services: Any = SimpleNamespace(clock=lambda: NOW, router=Router(table, Health()), workers=table)
        attempts, ends = Slow(), Ends()
        shadows = Shadows(services, attempts, ends)  # type: ignore[arg-type]
        try:
            await story(shadows, attempts, ends, table)
        finally:
            await shadows.drain()

    asyncio.run(play())


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
        for _ in range(MAX_IN_FLIGHT + 3):
            shadows.follow(completed())
        await asyncio.sleep(0)

        assert (len(attempts.tickets), shadows.dropped) == (MAX_IN_FLIGHT, 3)
        await shadows.drain()
        assert len(ends.tickets) == MAX_IN_FLIGHT

    played(story, tmp_path)


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
