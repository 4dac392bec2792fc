"""Events on disk: nothing promised is lost, whoever dies."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from gateway_hooks.contract import keys
from gateway_hooks.metering.emitter import Emitter
from gateway_hooks.metering.spool import EVENTS, Spool, abandoned
from gateway_hooks.redis_door import RedisAway, RedisDoor
from tests.gateway_hooks.processes import free_port

NOW = 1000.0


def door(url: str) -> RedisDoor:
    return RedisDoor(url, timeout=timedelta(seconds=2), pause=timedelta(seconds=5))


def nowhere() -> RedisDoor:
    return door(f"redis://127.0.0.1:{free_port()}/0")


def streamed(client: "redis.Redis") -> list[bytes]:
    return [entry[b"e"] for _, entry in client.xrange(keys.GATEWAY_EVENTS)]


def test_what_was_appended_is_read_back_in_order(tmp_path: Path):
    spool = Spool(tmp_path / "a")

    spool.append([b"1", b"2"])
    spool.append([b"3"])

    assert (spool.read(), spool.count) == ([b"1", b"2", b"3"], 3)
    spool.remove()


def test_a_line_cut_by_a_crash_is_left_out(tmp_path: Path):
    spool = Spool(tmp_path / "a")
    spool.append([b"whole"])
    with (tmp_path / "a" / EVENTS).open("ab") as file:
        file.write(b"half a li")

    assert spool.read() == [b"whole"]
    spool.remove()


def test_a_living_neighbours_spool_is_left_alone(tmp_path: Path):
    mine, neighbour = Spool(tmp_path / "mine"), Spool(tmp_path / "neighbour")
    neighbour.append([b"1"])

    assert list(abandoned(tmp_path, own=tmp_path / "mine")) == []
    with pytest.raises(BlockingIOError):
        Spool(tmp_path / "neighbour")
    mine.remove()
    neighbour.remove()


def test_events_wait_on_disk_while_redis_is_away_and_go_out_once_it_is_back(
    tmp_path: Path, redis_client: "redis.Redis"
):
    async def story() -> tuple[int, int]:
        away = nowhere()
        emitter = Emitter(door=away, folder=tmp_path, gateway_id="g1")
        await emitter.emit(b"1", now=NOW)
        await emitter.emit(b"2", now=NOW)
        waiting = emitter.spooled
        emitter._door = door(os.environ["REDIS_URL"])
        await emitter.emit(b"3", now=NOW)
        await emitter.replay(now=NOW)
        left = emitter.spooled
        emitter.close()
        await emitter._door.close()
        await away.close()
        return waiting, left

    waiting, left = asyncio.run(story())

    assert (waiting, left) == (2, 0)
    assert sorted(streamed(redis_client)) == [b"1", b"2", b"3"]
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_dead_predecessors_events_are_adopted(tmp_path: Path, redis_client: "redis.Redis"):
    dead = Spool(tmp_path / "spool" / "dead")
    dead.append([b"left behind"])
    dead._lock.close()

    async def story() -> None:
        here = door(os.environ["REDIS_URL"])
        emitter = Emitter(door=here, folder=tmp_path, gateway_id="g2")
        await emitter.replay(now=NOW)
        emitter.close()
        await here.close()

    asyncio.run(story())

    assert streamed(redis_client) == [b"left behind"]
    assert not (tmp_path / "spool" / "dead").exists()


def test_nothing_is_forgotten_when_redis_dies_during_the_replay(tmp_path: Path):
    async def story() -> int:
        away = nowhere()
        emitter = Emitter(door=away, folder=tmp_path, gateway_id="g3")
        await emitter.emit(b"1", now=NOW)
        with pytest.raises(RedisAway):
            await emitter.replay(now=NOW + 60)
        left = emitter.spooled
        emitter.close()
        await away.close()
        return left

    assert asyncio.run(story()) == 1


SLOW = 60
"""Seconds that a failure itself may take."""


def test_while_redis_is_away_only_the_first_asks_and_waits():
    async def story() -> tuple[int, int]:
        away = nowhere()
        asked = 0

        async def ping(client: object) -> object:
            nonlocal asked
            asked += 1
            return await client.ping()  # type: ignore[attr-defined]

        for moment in (NOW, NOW + 1, NOW + 4.9, NOW + 5 + SLOW):
            with pytest.raises(RedisAway):
                await away.ask(ping, now=moment)
        failures = away.failures
        await away.close()
        return asked, failures

    assert asyncio.run(story()) == (2, 2)
