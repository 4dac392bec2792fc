"""Health checks: who is asked, how often, and that a slow answer delays nobody else's."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.contract.identity import Keyring
from gateway_hooks.routing.health import Health, Pulse, Pulses, watch
from gateway_hooks.routing.table import WorkerTable
from tests.gateway_hooks.processes import free_port
from tests.gateway_hooks.world import worker

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
EVERY = 0.01


async def until(done) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - what is waited for is no event of ours
            await asyncio.sleep(EVERY)


async def watched(table: WorkerTable, feel, done, *, health: Health | None = None) -> None:
    """Watch until ``done``, then end it."""
    task = asyncio.create_task(watch(table, health or Health(), feel, every=EVERY))
    try:
        await until(done)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def table(tmp_path: Path) -> WorkerTable:
    made = WorkerTable(tmp_path / "workers.json")
    made.replace(
        [
            worker("http://a", id="a"),
            worker("http://b", id="b"),
            worker("http://c", id="c", state="starting"),
            worker("http://d", id="d", state="draining"),
        ]
    )
    return made


def test_every_ready_worker_is_asked_again_and_again_and_no_other(table: WorkerTable):
    asked = Counter[str]()

    async def feel(one: WorkerRecord) -> Pulse:
        asked[one.id] += 1
        return "alive"

    asyncio.run(watched(table, feel, lambda: min(asked["a"], asked["b"]) >= 3))

    assert set(asked) == {"a", "b"}


def test_a_worker_that_does_not_answer_is_asked_once_and_delays_nobody(table: WorkerTable):
    asked = Counter[str]()

    async def feel(one: WorkerRecord) -> Pulse:
        asked[one.id] += 1
        if one.id == "a":
            await asyncio.Event().wait()
        return "alive"

    asyncio.run(watched(table, feel, lambda: asked["b"] >= 5))

    assert asked["a"] == 1


def test_two_failures_take_a_worker_out_and_a_success_brings_it_back(table: WorkerTable):
    health, pulses = Health(), iter(["refused", "refused"])
    sick: list[bool] = []

    async def feel(one: WorkerRecord) -> Pulse:
        sick.append(not health.is_healthy(table.workers["a"]))
        return next(pulses, "alive") if one.id == "a" else "alive"

    asyncio.run(watched(table, feel, lambda: len(sick) >= 12, health=health))

    assert any(sick)
    assert health.is_healthy(table.workers["a"])


def test_where_nobody_listens_the_answer_is_at_once_and_says_so():
    async def felt() -> Pulse:
        pulses = Pulses(Keyring({"k": b"s" * 32}), clock=lambda: NOW)
        try:
            return await pulses.feel(worker(f"http://127.0.0.1:{free_port()}"))
        finally:
            await pulses.close()

    assert asyncio.run(felt()) == "refused"


def test_a_server_that_hangs_up_is_silent():
    async def felt() -> Pulse:
        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pulses = Pulses(Keyring({"k": b"s" * 32}), clock=lambda: NOW)
        try:
            return await pulses.feel(worker(f"http://127.0.0.1:{port}"))
        finally:
            await pulses.close()
            server.close()
            await server.wait_closed()

    assert asyncio.run(felt()) == "silent"
