"""Several gateways at one pool: everything that can cross, crosses."""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import redis
import redis.asyncio as aredis

from gateway_hooks.contract import pool_keys
from gateway_hooks.fairness.ask import Capacity, Seat
from gateway_hooks.fairness.errors import QueueFull, QueueTimeout
from gateway_hooks.fairness.queue import BEAT, BEAT_TTL
from gateway_hooks.fairness.script import LEAVE
from tests.gateway_hooks.fairness.asks import POOL, ledger, seat_ask, with_client
from tests.gateway_hooks.fairness.gateways import QUICK, Gateway, OnePool, gateway, until

pytestmark = pytest.mark.usefixtures("redis_client")

SIZE = Capacity(4, 100)
REQUESTS = 240
TRIALS = 40


# Giving up while the grant is on its way


OFF = LEAVE.replace("or release(ARGV[4], 0) and 'returned' ", "")
"""The guard off: only a place is given up, for nobody gave up a seat that was not seen."""


async def seats_leaked(leave: str, *, head_start: int) -> int:
    """One waits, and gives up in the moment that the other finishes; the seats that nobody has then."""
    url = os.environ["REDIS_URL"]
    async with aredis.Redis.from_url(url) as client, aredis.Redis.from_url(url) as other:
        await client.flushdb()
        holder, waiter = ledger(client, "gw-1"), ledger(other, "gw-2")
        await holder.enter(seat_ask("first", "a"), Capacity(1))
        await waiter.enter(seat_ask("second", "b"), Capacity(1))

        async def give_up() -> None:
            for _ in range(head_start):
                await other.ping()
            await other.eval(leave, 1, pool_keys.state(POOL), 1, 1000, "", "second")

        await asyncio.gather(holder.finish(POOL, "first", Capacity(1), actual=None), give_up())
        return await client.hlen(pool_keys.seats(POOL))


def test_giving_up_while_the_grant_is_on_its_way_leaks_no_seat_where_giving_up_a_place_would():
    unguarded = [asyncio.run(seats_leaked(OFF, head_start=trial % 4)) for trial in range(TRIALS)]
    guarded = [asyncio.run(seats_leaked(LEAVE, head_start=trial % 4)) for trial in range(TRIALS)]

    assert OFF != LEAVE
    assert max(unguarded) == 1
    assert max(guarded) == 0


# Many gateways, many requests


@dataclass
class Tally:
    """What became of every request, and how many ran at once."""

    outcomes: Counter[str] = field(default_factory=Counter)
    running: dict[str, int] = field(default_factory=dict)
    most_seats: int = 0
    most_tokens: int = 0

    def begin(self, seat: Seat) -> None:
        self.running[seat.ask.request_id] = seat.ask.tokens
        self.most_seats = max(self.most_seats, len(self.running))
        self.most_tokens = max(self.most_tokens, sum(self.running.values()))

    def end(self, seat: Seat) -> None:
        del self.running[seat.ask.request_id]


async def request(one: Gateway, tally: Tally, chance: random.Random, name: str) -> None:
    tokens = chance.choice([1, 10, 30, 60])
    ask = seat_ask(
        name,
        f"tenant-{chance.randrange(6)}",
        tokens=tokens,
        weight=chance.choice([1, 2, 5]),
        band=chance.choice([0, 0, 1]),
        queue_depth=60,
        wait_ms=chance.choice([20, 200, 60_000, 60_000]),
    )
    await asyncio.sleep(chance.random() * 0.3)
    try:
        seat = await one.queue.enter(ask)
    except (QueueTimeout, QueueFull) as refused:
        tally.outcomes[refused.code] += 1
        return
    tally.begin(seat)
    try:
        await asyncio.sleep(chance.random() * 0.02)
    finally:
        tally.end(seat)
        tally.outcomes["seated"] += 1
        # A cancelled request ends properly too, in a task of its own.
        await asyncio.shield(asyncio.create_task(one.finish(seat, chance.randrange(tokens + 1))))


async def cancel_some(tasks: list["asyncio.Task[None]"], chance: random.Random) -> None:
    for task in chance.sample(tasks, len(tasks) // 4):
        await asyncio.sleep(chance.random() * 0.01)
        task.cancel()


@pytest.mark.parametrize("seed", range(3))
def test_every_request_of_many_gateways_ends_once_and_no_seat_is_given_twice(
    seed: int, redis_client: "redis.Redis"
):
    chance, tally, pools = random.Random(seed), Tally(), OnePool(SIZE)  # noqa: S311 - a seeded run

    async def run() -> list[Any]:
        async with contextlib.AsyncExitStack() as stack:
            gateways = [await stack.enter_async_context(gateway(f"gw-{n}", pools)) for n in range(3)]
            tasks = [
                asyncio.create_task(request(chance.choice(gateways), tally, chance, f"r{number}"))
                for number in range(REQUESTS)
            ]
            await cancel_some(tasks, chance)
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            await until(lambda: nothing_left(gateways))
            return answers

    answers = asyncio.run(run())

    cancelled = sum(isinstance(answer, asyncio.CancelledError) for answer in answers)
    assert [one for one in answers if one is not None and not isinstance(one, asyncio.CancelledError)] == []
    assert REQUESTS - cancelled <= tally.outcomes.total() <= REQUESTS
    assert tally.outcomes["seated"] > REQUESTS // 4
    assert tally.most_seats <= SIZE.sequences
    assert tally.most_tokens <= SIZE.tokens
    assert_nothing_lasts(redis_client)


async def nothing_left(gateways: list[Gateway]) -> bool:
    return not any([await one.seated() + await one.waiting() + one.queue.seats for one in gateways])


def assert_nothing_lasts(client: "redis.Redis") -> None:
    """Nobody has a seat or a place, every key expires, and the counts are back at nothing."""
    assert {name for name in client.keys("*") if client.ttl(name) == -1} == set()
    gone = [pool_keys.seats(POOL), pool_keys.asks(POOL), pool_keys.infos(POOL), pool_keys.waiting(POOL)]
    assert client.exists(*gone) == 0
    assert client.keys(pool_keys.queue(POOL, "*").replace("{", "?").replace("}", "?")) == []
    assert client.keys(pool_keys.gateway(POOL, "*").replace("{", "?").replace("}", "?")) == []
    assert int(client.hget(pool_keys.state(POOL), "tokens") or 0) == 0


# A gateway that is killed


@contextlib.contextmanager
def holder(gateway_id: str, *, seats: int, waiting: int, ttl_ms: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A real process that has seats and waits for more."""
    command = [sys.executable, "-m", "tests.gateway_hooks.fairness.holder", gateway_id]
    sizes = ["--seats", str(seats), "--waiting", str(waiting), "--ttl-ms", str(ttl_ms)]
    with subprocess.Popen([*command, *sizes], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"holding\n"
            yield process
        finally:
            process.kill()


def test_a_killed_gateways_seats_go_to_others_and_its_requests_are_told_once(redis_client: "redis.Redis"):
    pools = OnePool(Capacity(3, 1000))

    async def run(process: "subprocess.Popen[bytes]") -> Any:
        async with gateway("gw-a", pools, **QUICK) as one, gateway("gw-b", pools, **QUICK) as two:
            alive = [
                asyncio.create_task(each.queue.enter(seat_ask(f"alive-{number}", "alive", wait_ms=60_000)))
                for number, each in enumerate([one, two, one])
            ]
            await until(lambda: _waiting(one, 2 + 3))
            process.kill()
            process.wait()
            killed = time.monotonic()
            seats = await asyncio.gather(*alive)
            took = time.monotonic() - killed
            for each, seat in zip([one, two, one], seats, strict=True):
                await each.finish(seat)
            await until(lambda: nothing_left([one, two]))
            return took, [(lost.request_id, lost.seated, lost.info) for lost in one.lost + two.lost]

    with holder("gw-dead", seats=3, waiting=2, ttl_ms=1500) as process:
        took, lost = asyncio.run(run(process))

    assert took < 10
    assert {name for name, _, _ in lost} == {f"gw-dead-{number}" for number in range(5)}
    assert len(lost) == 5
    assert Counter(seated for _, seated, _ in lost) == {True: 3, False: 2}
    assert all(info == b'{"r":"%s"}' % name.encode() for name, _, info in lost)
    assert_nothing_lasts(redis_client)


async def _waiting(one: Gateway, count: int) -> bool:
    return await one.waiting() == count


def test_a_killed_gateways_seats_are_back_within_six_seconds():
    assert timedelta(seconds=6) >= BEAT + BEAT_TTL


@pytest.mark.parametrize("seed", range(5))
def test_many_reapers_at_once_tell_each_request_once(seed: int):
    async def run(client: aredis.Redis) -> list[str]:
        dead = [ledger(client, f"dead-{number}", beat_ms=0) for number in range(4)]
        for number in range(40):
            await dead[number % 4].enter(seat_ask(f"r{number}", f"t{number % 7}"), Capacity(10))
        reapers = [ledger(client, f"gw-{seed}-{number}") for number in range(10)]
        found = await asyncio.gather(*(one.reap(POOL, Capacity(10)) for one in reapers))
        return [lost.request_id for told, _ in found for lost in told]

    told = with_client(os.environ["REDIS_URL"], run)

    assert sorted(told) == sorted(f"r{number}" for number in range(40))
