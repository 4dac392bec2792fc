"""Waiting in one process, on a real Redis: what each way in and out leaves behind."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import redis

from gateway_hooks.contract import pool_keys
from gateway_hooks.fairness.ask import Capacity
from gateway_hooks.fairness.errors import QueueFull, QueueTimeout
from gateway_hooks.fairness.queue import FairQueue
from tests.gateway_hooks.fairness.asks import POOL, seat_ask
from tests.gateway_hooks.fairness.gateways import QUICK, Gateway, OnePool, gateway, until

pytestmark = pytest.mark.usefixtures("redis_client")
NEVER = timedelta(hours=1)
LONG = timedelta(minutes=1)


def with_gateways(
    work: Callable[..., Awaitable[Any]], *, count: int = 1, size: Capacity | None = None, **timing: Any
) -> Any:
    """Run ``work(pools, *gateways)``."""
    pools = OnePool(size or Capacity(1, 100))

    async def run() -> Any:
        async with gateway("gw-1", pools, **timing) as one:
            if count == 1:
                return await work(pools, one)
            async with gateway("gw-2", pools, **timing) as two:
                return await work(pools, one, two)

    return asyncio.run(run())


async def queued(one: Gateway, name: str, tenant: str = "b", **changes: Any) -> "asyncio.Task[Any]":
    """A task that waits for a seat, once Redis has it in the queue."""
    task = asyncio.create_task(one.queue.enter(seat_ask(name, tenant, **changes)))
    await until(lambda: one.client.hexists(pool_keys.asks(POOL), name))
    await until(lambda: one.queue.waiting(POOL)[tenant])
    return task


def test_a_seat_that_is_free_costs_one_command(redis_client: "redis.Redis"):
    async def work(_: OnePool, one: Gateway) -> Any:
        await one.finish(await one.queue.enter(seat_ask("first")))
        redis_client.config_resetstat()
        seat = await one.queue.enter(seat_ask("second"))
        return seat.waited_us, redis_client.info("commandstats")["cmdstat_evalsha"]["calls"]

    waited, scripts = with_gateways(work, beat=NEVER, poll=NEVER)

    assert (waited, scripts) == (0, 1)


def test_a_message_ends_the_wait_of_another_gateway():
    async def work(_: OnePool, one: Gateway, two: Gateway) -> Any:
        channel = pool_keys.grants("gw-2")
        await until(lambda: _subscribed(two, channel))
        seat = await one.queue.enter(seat_ask("first"))
        waiting = await queued(two, "second")
        await one.finish(seat)
        return (await waiting).waited_us

    assert with_gateways(work, count=2, beat=LONG, beat_ttl=NEVER, poll=NEVER) > 0


async def _subscribed(one: Gateway, channel: str) -> bool:
    ((_, count),) = await one.client.pubsub_numsub(channel)
    return count > 0


def test_a_message_that_is_lost_costs_no_more_than_a_poll():
    async def work(_: OnePool, one: Gateway) -> Any:
        seat = await one.queue.enter(seat_ask("first"))
        waiting = await queued(one, "second")
        await until(lambda: _subscribed(one, pool_keys.grants("gw-1")))
        await one.client.client_kill_filter(_type="pubsub")
        deaf = not await _subscribed(one, pool_keys.grants("gw-1"))
        await one.finish(seat)
        await waiting
        return deaf and not await _subscribed(one, pool_keys.grants("gw-1"))

    assert with_gateways(work, beat=LONG, beat_ttl=NEVER)


def test_a_pool_that_grows_seats_who_waits_though_nobody_finished():
    async def work(pools: OnePool, one: Gateway) -> Any:
        await one.queue.enter(seat_ask("first"))
        waiting = await queued(one, "second")
        pools.size = Capacity(2, 100)
        return await waiting

    assert with_gateways(work, **QUICK).ask.request_id == "second"


def test_who_waited_long_enough_leaves_no_place_behind():
    async def work(_: OnePool, one: Gateway) -> Any:
        await one.queue.enter(seat_ask("first"))
        with pytest.raises(QueueTimeout) as refused:
            await one.queue.enter(seat_ask("second", wait_ms=50))
        return refused.value, await one.waiting(), one.queue.waiting(POOL)

    error, waiting, here = with_gateways(work)

    assert (error.code, waiting, here) == ("queue_timeout", 0, {})
    assert error.retry_after >= 1


def test_a_full_queue_is_refused_at_once():
    async def work(_: OnePool, one: Gateway) -> Any:
        await one.queue.enter(seat_ask("first"))
        task = await queued(one, "second", queue_depth=1)
        with pytest.raises(QueueFull) as refused:
            await one.queue.enter(seat_ask("third", "b", queue_depth=1))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return refused.value.code, await one.waiting()

    assert with_gateways(work) == ("queue_full", 0)


def test_who_is_cancelled_while_waiting_leaves_no_place_behind():
    async def work(_: OnePool, one: Gateway) -> Any:
        await one.queue.enter(seat_ask("first"))
        task = await queued(one, "second")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await one.seated(), await one.waiting(), await one.client.smembers(_own_set())

    assert with_gateways(work) == (1, 0, {b"first"})


def _own_set() -> str:
    return pool_keys.gateway(POOL, "gw-1")


def test_who_is_cancelled_after_the_grant_and_before_seeing_it_gives_the_seat_back():
    async def work(_: OnePool, one: Gateway) -> Any:
        seat = await one.queue.enter(seat_ask("first"))
        task = await queued(one, "second")
        await one.finish(seat)
        between = await one.client.hkeys(pool_keys.seats(POOL))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return between, await one.seated(), await one.waiting()

    assert with_gateways(work, deaf=True) == ([b"second"], 0, 0)


def test_who_is_cancelled_while_asking_leaves_nothing_behind():
    async def work(_: OnePool, one: Gateway) -> Any:
        await one.finish(await one.queue.enter(seat_ask("warm")))
        await one.client.client_pause(300)
        task = asyncio.create_task(one.queue.enter(seat_ask("first")))
        await until(lambda: len(one.queue._roll.waiters) == 1)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await one.seated(), await one.waiting(), await one.client.smembers(_own_set())

    assert with_gateways(work, beat=NEVER, poll=NEVER) == (0, 0, set())


def test_an_answer_that_never_came_is_found_and_given_back():
    """Redis is too slow to answer in time, and does what it was asked to all the same."""

    async def work(_: OnePool, one: Gateway) -> Any:
        await one.finish(await one.queue.enter(seat_ask("warm")))
        sleeper = await one.client.connection_pool.get_connection()
        await sleeper.send_command("DEBUG", "SLEEP", "0.6")
        with pytest.raises(redis.exceptions.TimeoutError):
            await one.queue.enter(seat_ask("first"))
        await sleeper.disconnect()
        await one.client.connection_pool.release(sleeper)
        await until(lambda: _counted(one))
        found = await one.seated()
        await until(lambda: _empty(one))
        return found, one.queue.seats

    assert with_gateways(work, socket_timeout=0.2, beat=timedelta(seconds=0.5)) == (1, 0)


async def _counted(one: Gateway) -> bool:
    try:
        return await one.seated() == 1
    except redis.exceptions.TimeoutError:
        return False


async def _empty(one: Gateway) -> bool:
    return await one.seated() == 0 and not await one.client.smembers(_own_set())


def test_a_finish_that_never_arrived_is_made_good_with_what_was_used():
    async def work(_: OnePool, one: Gateway) -> Any:
        seat = await one.queue.enter(seat_ask("first", tokens=50))
        async with one.client.pipeline(transaction=False) as pipeline:
            one.queue.finish_commands(pipeline, seat, 7)
        before = await one.seated()
        await until(lambda: _empty(one))
        return before, int(await one.client.hget(pool_keys.tenant(POOL, "acme"), "counter"))

    assert with_gateways(work, **QUICK) == (1, 7 * pool_keys.COUNTER_SCALE)


def test_a_seat_is_kept_as_long_as_its_gateway_lives():
    async def work(_: OnePool, one: Gateway, two: Gateway) -> Any:
        seat = await one.queue.enter(seat_ask("first"))
        beats = [await _beat_end(one)]
        while len(beats) < 4:
            await until(lambda: _later(one, beats[-1]))
            beats.append(await _beat_end(one))
        held = await one.seated()
        await one.finish(seat)
        return held, one.lost + two.lost

    timing = {**QUICK, "beat_ttl": timedelta(seconds=2)}
    assert with_gateways(work, count=2, **timing) == (1, [])


async def _beat_end(one: Gateway) -> float:
    return await one.client.zscore(pool_keys.gateways(POOL), "gw-1")


async def _later(one: Gateway, than: float) -> bool:
    return await _beat_end(one) > than


def test_who_lost_the_place_because_the_gateway_looked_dead_is_told_at_once():
    async def work(_: OnePool, one: Gateway) -> Any:
        await one.queue.enter(seat_ask("first"))
        waiting = await queued(one, "second")
        async with gateway("gw-2", OnePool(Capacity(1)), **QUICK) as other:
            with pytest.raises(QueueTimeout):
                await waiting
            return [(lost.request_id, lost.seated, lost.info) for lost in other.lost]

    lost = with_gateways(work, beat=LONG, beat_ttl=timedelta(milliseconds=400))

    assert lost == [("first", True, b'{"r":"first"}'), ("second", False, b'{"r":"second"}')]


def test_the_background_task_ends_when_cancelled_at_whatever_moment():
    """Python 3.11's ``wait_for``, which redis-py uses, may swallow a cancellation."""
    chance, quick = random.Random(1), timedelta(milliseconds=2)  # noqa: S311 - a seeded run

    async def run() -> int:
        ended = 0
        async with gateway("gw-0", OnePool(Capacity(1)), deaf=True) as shared:
            for number in range(60):
                queue = FairQueue(
                    shared.client,
                    gateway_id=f"gw-{number}",
                    pools=OnePool(Capacity(1)),
                    reaped=_ignore,
                    beat=quick,
                    poll=quick,
                )
                running = asyncio.create_task(queue.run())
                await asyncio.sleep(chance.random() * 0.02)
                running.cancel()
                done, _ = await asyncio.wait({running}, timeout=10)
                ended += len(done)
        return ended

    assert asyncio.run(run()) == 60


async def _ignore(_: object) -> None:
    """Nobody dies here."""
