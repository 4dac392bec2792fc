"""Leases are renewed while their request runs, and never after it."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import pytest
import redis

from gateway_hooks.admission.lease_keeper import BATCH, LeaseKeeper
from gateway_hooks.admission.redis_ledger import AdmissionLedger
from gateway_hooks.contract import keys
from gateway_hooks.redis_door import RedisAway, RedisDoor
from tests.gateway_hooks.admission.cases import TENANT, ask, sent
from tests.gateway_hooks.processes import wait_for

T = TypeVar("T")
EVERY = timedelta(seconds=5)
LEASES = keys.leases(TENANT, keys.TENANT_SCOPE)


def with_keeper(work: Callable[[LeaseKeeper, AdmissionLedger, RedisDoor], Awaitable[T]], url: str = "") -> T:
    async def run() -> T:
        door = RedisDoor(
            url or os.environ["REDIS_URL"], timeout=timedelta(seconds=5), pause=timedelta(seconds=1)
        )
        try:
            ledger = AdmissionLedger(door.client)
            return await work(LeaseKeeper(ledger), ledger, door)
        finally:
            await door.close()

    return asyncio.run(run())


def milliseconds(client: "redis.Redis") -> int:
    seconds, micros = client.time()  # type: ignore[misc]
    return seconds * 1000 + micros // 1000


def test_only_what_was_not_renewed_lately_is_due():
    keeper = LeaseKeeper(None)  # type: ignore[arg-type]
    keeper.hold(ask("old"), now=0.0)
    keeper.hold(ask("new"), now=3.0)
    keeper.hold(ask("over"), now=0.0)

    keeper.drop("over")
    keeper.drop("never held")

    assert [one.request_id for one in keeper.due(EVERY, now=5.0)] == ["old"]
    assert len(keeper) == 2


def test_all_in_flight_are_renewed_in_batches_and_then_not_due(redis_client: "redis.Redis"):
    count = BATCH + 5

    async def run(keeper: LeaseKeeper, ledger: AdmissionLedger, door: RedisDoor) -> tuple[int, int]:
        for number in range(count):
            one = ask(f"{number}", lease_ms=60_000)
            await ledger.admit(one)
            keeper.hold(one, now=0.0)
        before.update(redis_client.zrange(LEASES, 0, -1, withscores=True))
        return await keeper.renew(door, EVERY, now=5.0), len(keeper.due(EVERY, now=5.0))

    before: dict[bytes, float] = {}
    renewed = with_keeper(run)

    after = dict(redis_client.zrange(LEASES, 0, -1, withscores=True))
    assert renewed == (count, 0)
    assert len(after) == count
    assert all(after[name] >= ends for name, ends in before.items())


def test_a_released_lease_does_not_come_back_and_one_that_lapsed_is_counted(redis_client: "redis.Redis"):
    async def run(keeper: LeaseKeeper, ledger: AdmissionLedger, door: RedisDoor) -> tuple[int, int]:
        released, lapsed = ask("released"), ask("lapsed", lease_ms=1)
        for one in (released, lapsed):
            await ledger.admit(one)
            keeper.hold(one, now=0.0)
        await sent(door.client, lambda pipeline: ledger.finish(pipeline, released, tokens=1, micro=1))
        keeper.drop("released")
        (end,) = [score for _, score in redis_client.zrange(LEASES, 0, -1, withscores=True)]
        wait_for(lambda: milliseconds(redis_client) > end, seconds=10, what="the lease lapses")
        await keeper.renew(door, EVERY, now=5.0)
        return keeper.lapsed, len(keeper)

    assert with_keeper(run) == (1, 0)
    assert redis_client.zscore(LEASES, "released") is None


def test_while_redis_is_away_everything_stays_due():
    async def run(keeper: LeaseKeeper, _ledger: AdmissionLedger, door: RedisDoor) -> list[str]:
        keeper.hold(ask("1"), now=0.0)
        with pytest.raises(RedisAway):
            await keeper.renew(door, EVERY, now=5.0)
        return [one.request_id for one in keeper.due(EVERY, now=5.0)]

    assert with_keeper(run, url="redis://127.0.0.1:1/0") == ["1"]
