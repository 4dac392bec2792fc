"""Whether a worker died under a request, or only the connection did."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from gateway_hooks.contract.dead_letters import crash_scene, suspect
from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.redis_door import RedisDoor
from gateway_hooks.routing import crash_watch
from gateway_hooks.routing.crash_watch import CrashWatch
from gateway_hooks.routing.dead_letters import DeadLetters, Suspect
from gateway_hooks.routing.health import Pulse
from gateway_hooks.routing.table import WorkerTable
from tests.gateway_hooks.world import worker

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
ONE = Suspect(
    tenant_id="tenant-acme",
    alias="support",
    fingerprint="f",
    request_id="r",
    worker_id="worker-1",
    boot_id="boot-1",
)
BOOT = worker("http://a")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, redis_client: "redis.Redis") -> Iterator[None]:
    monkeypatch.setattr(crash_watch, "ASK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(crash_watch, "WITNESS_SECONDS", 0.01)
    monkeypatch.setattr(crash_watch, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(crash_watch, "CONFIRM_SECONDS", 0.5)
    redis_client.flushdb()
    yield
    redis_client.flushdb()


def watched(
    tmp_path: Path,
    feel: Callable[[WorkerRecord], Awaitable[Pulse]],
    *,
    later: list[WorkerRecord] | None = None,
    suspects: tuple[Suspect, ...] = (ONE,),
) -> None:
    """Suspect, let the fleet become ``later``, and wait until nothing is watched any more."""

    async def story() -> None:
        door = RedisDoor(os.environ["REDIS_URL"], timeout=timedelta(seconds=2), pause=timedelta(seconds=1))
        table = WorkerTable(tmp_path / "workers.json")
        table.replace([BOOT])
        watch = CrashWatch(DeadLetters(door, b"s" * 32), table, feel, clock=lambda: NOW)
        for one in suspects:
            watch.suspect(one, BOOT)
        if later is not None:
            table.replace(later)
        await asyncio.gather(*watch._tasks)
        await watch.close()
        await door.close()

    asyncio.run(story())


def crashes(client: "redis.Redis", one: Suspect = ONE) -> int:
    return int(client.hlen(suspect(one.tenant_id, one.fingerprint)))


async def alive(_worker: WorkerRecord) -> Pulse:
    return "alive"


async def refused(_worker: WorkerRecord) -> Pulse:
    return "refused"


def test_a_worker_that_nobody_reaches_any_more_has_crashed(tmp_path: Path, redis_client: "redis.Redis"):
    watched(tmp_path, refused)

    assert crashes(redis_client) == 1


def test_a_worker_that_has_started_anew_has_crashed(tmp_path: Path, redis_client: "redis.Redis"):
    watched(tmp_path, alive, later=[worker("http://a", boot_id="boot-2")])

    assert crashes(redis_client) == 1


def test_a_worker_that_dies_slowly_has_crashed(tmp_path: Path, redis_client: "redis.Redis"):
    pulses = iter(["sick", "sick", "silent"])

    async def fading(_worker: WorkerRecord) -> Pulse:
        return next(pulses, "refused")

    watched(tmp_path, fading)

    assert crashes(redis_client) == 1


def test_a_worker_that_lives_on_has_not_and_nobody_was_at_a_scene(
    tmp_path: Path, redis_client: "redis.Redis"
):
    watched(tmp_path, alive)

    assert crashes(redis_client) == 0
    assert redis_client.scard(crash_scene(ONE.worker_id, ONE.boot_id)) == 0


def test_a_server_that_does_not_know_yet_of_its_engines_death_is_asked_again(
    tmp_path: Path, redis_client: "redis.Redis"
):
    pulses = iter(["alive", "alive"])

    async def unaware(_worker: WorkerRecord) -> Pulse:
        return next(pulses, "refused")

    watched(tmp_path, unaware)

    assert crashes(redis_client) == 1


def test_a_worker_that_was_told_to_stop_has_not(tmp_path: Path, redis_client: "redis.Redis"):
    watched(tmp_path, refused, later=[worker("http://a", state="draining")])

    assert crashes(redis_client) == 0


def test_all_that_were_there_share_one_question(tmp_path: Path, redis_client: "redis.Redis"):
    asked = 0

    async def counted(_worker: WorkerRecord) -> Pulse:
        nonlocal asked
        asked += 1
        return "refused"

    others = tuple(ONE._replace(fingerprint=f"f{number}") for number in range(20))

    watched(tmp_path, counted, suspects=others)

    assert asked <= 2
    assert [crashes(redis_client, one) for one in others] == [1] * 20


def test_an_answer_clears_whoever_is_under_suspicion_and_asks_redis_for_nobody_else(
    tmp_path: Path, redis_client: "redis.Redis"
):
    fields = {"model": "support"}

    async def story() -> None:
        door = RedisDoor(os.environ["REDIS_URL"], timeout=timedelta(seconds=2), pause=timedelta(seconds=1))
        letters = DeadLetters(door, b"s" * 32)
        watch = CrashWatch(letters, WorkerTable(tmp_path / "workers.json"), alive, clock=lambda: NOW)
        one = ONE._replace(fingerprint=letters.fingerprint(ONE.tenant_id, "chat.completions", fields))
        await letters.was_there(one, now=0.0)
        await letters.crashed(one, at=NOW, now=0.0)
        await letters.refresh(now=0.0)
        watch.answered("tenant-other", "chat.completions", fields)
        assert not watch._tasks
        assert crashes(redis_client, one) == 1
        watch.answered(ONE.tenant_id, "chat.completions", fields)
        await asyncio.gather(*watch._tasks)
        assert crashes(redis_client, one) == 0
        await watch.close()
        await door.close()

    asyncio.run(story())
