"""The Lua scripts against the model, step by step, on a real Redis."""

import os
from typing import Any

import pytest
import redis
import redis.asyncio as aredis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_hooks.contract import pool_keys
from gateway_hooks.contract.pool_keys import pool_prefix
from gateway_hooks.fairness.ask import Capacity, SeatAsk
from gateway_hooks.fairness.ledger import PoolLedger
from gateway_hooks.fairness.model import PoolModel
from tests.gateway_hooks.fairness.asks import BEAT_MS, POOL, ledger, seat_ask, with_client

START = 1_700_000_000_000
GATEWAYS = ("gw-1", "gw-2")
CAPACITY = st.builds(Capacity, st.integers(0, 5), st.integers(1, 120))
ENTER = st.tuples(
    st.just("enter"),
    st.fixed_dictionaries(
        {
            "tenant_id": st.sampled_from(["a", "b", "c:d", "é"]),
            "tokens": st.integers(1, 150),
            "weight": st.sampled_from([1, 1, 3, 11]),
            "band": st.sampled_from([0, 0, 0, 1]),
            "queue_depth": st.integers(0, 4),
        }
    ),
    st.sampled_from(GATEWAYS),
)
FINISH = st.tuples(st.just("finish"), st.integers(0, 40), st.none() | st.integers(0, 200))
OTHER = st.tuples(
    st.sampled_from(["leave", "beat", "reap", "poll"]), st.integers(0, 40), st.sampled_from(GATEWAYS)
)
STEPS = st.lists(
    st.tuples(st.integers(0, 2500), CAPACITY | st.just(Capacity(3, 100)), ENTER | ENTER | FINISH | OTHER),
    min_size=1,
    max_size=40,
)


async def same(model: PoolModel, ledgers: dict[str, PoolLedger], asked: list[str], step: Any) -> None:
    """Take one step on both sides; they must answer alike."""
    now, capacity, (kind, what, how) = step
    beat_until, common = now + BEAT_MS, {"now_ms": now}
    if kind == "enter":
        ask = seat_ask(f"r{len(asked)}", **what)
        asked.append(ask.request_id)
        answer = await ledgers[how].enter(ask, capacity, **common)
        assert answer == model.enter(ask, how, capacity, beat_until=beat_until)
        return
    request_id = asked[what % len(asked)] if asked else "none"
    one = ledgers[how if how in ledgers else "gw-1"]
    if kind == "finish":
        answer = await one.finish(POOL, request_id, capacity, actual=how, **common)
        assert answer == model.finish(request_id, capacity, actual=how)
    elif kind == "leave":
        answer = await one.leave(POOL, request_id, capacity, **common)
        assert answer == model.leave(request_id, capacity)
    elif kind == "beat":
        model.beat(how, beat_until=beat_until)
        owned = {name for name, owner in model.owners.items() if owner == how}
        assert await one.beat(POOL, **common) == owned
    elif kind == "reap":
        assert await one.reap(POOL, capacity, **common) == model.reap(capacity, now_ms=now)
    else:
        places, granted = await one.poll(POOL, capacity, asked, **common)
        assert granted == model.dispatch(capacity)
        assert places == tuple(model.place(name) for name in asked)


async def assert_same_state(model: PoolModel, client: aredis.Redis) -> None:
    """What Redis holds is what the model holds, to the unit."""
    entries = await client.zrange(pool_keys.waiting(POOL), 0, -1)
    assert [entry.decode()[41:] for entry in entries] == model.order()
    assert {name.decode() for name in await client.hkeys(pool_keys.seats(POOL))} == set(model.seats)
    assert int(await client.hget(pool_keys.state(POOL), "tokens") or 0) == model.tokens
    assert int(await client.hget(pool_keys.state(POOL), "passed") or 0) == model.passed
    for name, state in model.tenants.items():
        counter, band, seats = await client.hmget(pool_keys.tenant(POOL, name), "counter", "band", "seats")
        assert (int(counter), int(band), int(seats or 0)) == (state.counter, state.band, state.seats)
        queue = await client.zrange(pool_keys.queue(POOL, name), 0, -1)
        assert [one.decode() for one in queue] == [one.ask.request_id for one in state.queue]


@pytest.mark.usefixtures("redis_client")
@given(steps=STEPS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_scripts_decide_and_count_as_the_model_does(steps: list[Any]):
    async def run(client: aredis.Redis) -> None:
        await client.flushdb()
        ledgers = {name: ledger(client, name) for name in GATEWAYS}
        model, now, asked = PoolModel(), START, list[str]()
        for gap, capacity, step in steps:
            now += gap
            await same(model, ledgers, asked, (now, capacity, step))
        await assert_same_state(model, client)

    with_client(os.environ["REDIS_URL"], run)


def lasting(client: "redis.Redis") -> set[bytes]:
    return {name for name in client.keys("*") if client.ttl(name) == -1}


@pytest.mark.usefixtures("redis_client")
@given(steps=STEPS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_key_of_a_pool_expires_at_every_moment(steps: list[Any]):
    async def run(client: aredis.Redis) -> None:
        await client.flushdb()
        ledgers = {name: ledger(client, name) for name in GATEWAYS}
        model, now, asked = PoolModel(), START, list[str]()
        for gap, capacity, step in steps:
            now += gap
            await same(model, ledgers, asked, (now, capacity, step))
        with redis.Redis.from_url(os.environ["REDIS_URL"]) as other:
            assert lasting(other) == set()

    with_client(os.environ["REDIS_URL"], run)


def test_after_everything_has_ended_only_counters_are_left_and_they_expire(redis_client: "redis.Redis"):
    async def run(client: aredis.Redis) -> None:
        one, capacity = ledger(client), Capacity(1, 100)
        for number in range(3):
            await one.enter(seat_ask(f"r{number}", f"t{number}"), capacity)
        for number in range(3):
            await one.finish(POOL, f"r{number}", capacity, actual=5)

    with_client(os.environ["REDIS_URL"], run)

    left = {name.decode().removeprefix(pool_prefix(POOL)) for name in redis_client.keys("*")}
    assert left == {"state", "gateways", "tenant:t0", "tenant:t1", "tenant:t2"}
    assert lasting(redis_client) == set()
    assert 0 < redis_client.ttl(pool_keys.tenant(POOL, "t0")) <= 600


def test_a_request_that_asks_twice_takes_one_seat(redis_client: "redis.Redis"):
    async def run(client: aredis.Redis) -> list[str]:
        one, capacity = ledger(client), Capacity(1, 100)
        asks = [seat_ask("r1"), seat_ask("r1"), seat_ask("r2"), seat_ask("r2")]
        return [(await one.enter(ask, capacity)).status for ask in asks]

    statuses = with_client(os.environ["REDIS_URL"], run)

    assert statuses == ["granted", "granted", "waiting", "waiting"]
    assert redis_client.hget(pool_keys.state(POOL), "tokens") == b"10"


@pytest.mark.usefixtures("redis_client")
def test_a_grant_is_told_on_the_channel_of_the_gateway_that_waits():
    async def run(client: aredis.Redis) -> Any:
        async with client.pubsub() as listener:
            await listener.subscribe(pool_keys.grants("gw-2"))
            await listener.get_message(timeout=5)
            await ledger(client, "gw-1").enter(seat_ask("r1"), Capacity(1))
            await ledger(client, "gw-2").enter(seat_ask("r2"), Capacity(1))
            await ledger(client, "gw-1").finish(POOL, "r1", Capacity(1), actual=None)
            return await listener.get_message(timeout=5)

    assert with_client(os.environ["REDIS_URL"], run)["data"] == b"r2"


@pytest.mark.usefixtures("redis_client")
def test_large_counters_stay_whole():
    """A year at 100,000 tokens per second, in counter units: Lua would write it with an exponent."""
    tokens = 3_000_000_000_000

    async def run(client: aredis.Redis) -> tuple[int, ...]:
        one, capacity = ledger(client), Capacity(2)
        model = PoolModel()
        for number in range(3):
            ask: SeatAsk = seat_ask(f"r{number}", tokens=tokens // 3 + number)
            assert await one.enter(ask, capacity) == model.enter(ask, "gw-1", capacity, beat_until=0)
        done = await one.finish(POOL, "r0", capacity, actual=7)
        assert done == model.finish("r0", capacity, actual=7)
        counter = await client.hget(pool_keys.tenant(POOL, "acme"), "counter")
        return int(counter), model.tenants["acme"].counter

    ours, models = with_client(os.environ["REDIS_URL"], run)

    assert ours == models > 5 * 10**15
