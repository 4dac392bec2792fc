"""What a seat costs, and how evenly two tenants are served, on a real Redis.

``python -m tests.bench.fairness_figures`` starts a Redis of its own; the last line is one JSON object.
Latencies are milliseconds from sending a command to its answer, at a steady rate of requests;
``script_us`` is Redis' own mean time per script. Service ratios are tokens of two tenants while both wait.
"""

import asyncio
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import redis
import redis.asyncio as aredis

from gateway_hooks.contract import pool_keys
from gateway_hooks.fairness import script
from gateway_hooks.fairness.ask import Capacity, Lost, SeatAsk
from gateway_hooks.fairness.ledger import seat_record
from gateway_hooks.fairness.queue import FairQueue
from tests.gateway_hooks.processes import OwnRedis

POOL = "bench"
RATE = 2000
SECONDS = 5.0
BUSY = 8
"""Seats while two tenants compete."""
AT_ONCE = 3_000
CONNECTIONS = 50
"""Of each gateway: thousands at once would measure the making of connections."""
ROOMY = Capacity(1_000_000)


class Sender:
    """ENTER and FINISH by hand, so that what is measured is Redis and not an event loop."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._enter: str = client.script_load(script.ENTER)
        self._finish: str = client.script_load(script.FINISH)

    def enter(self, ask: SeatAsk, capacity: Capacity) -> None:
        record = seat_record(ask, "gw")
        head = [pool_keys.state(POOL), capacity.sequences, capacity.tokens, ""]
        rest = [ask.request_id, record, "gw", ask.tenant_id, ask.band, ask.queue_depth, ask.info, 3_600_000]
        self._client.evalsha(self._enter, 1, *head, *rest)

    def finish(self, request_id: str, capacity: Capacity) -> None:
        head = [pool_keys.state(POOL), capacity.sequences, capacity.tokens, ""]
        answer: Any = self._client.evalsha(self._finish, 1, *head, request_id, 50)
        if answer[0] != b"returned":
            message = f"{request_id} had no seat: this would not measure a finish"
            raise AssertionError(message)


def paced(turns: int, work: Callable[[int], None]) -> None:
    """``work`` at ``RATE`` per second; whoever is late does not wait."""
    start = time.perf_counter()
    for turn in range(turns):
        while time.perf_counter() < start + turn / RATE:
            pass
        work(turn)


def timed(work: Callable[[], None], into: list[float]) -> None:
    started = time.perf_counter()
    work()
    into.append((time.perf_counter() - started) * 1000)


def ask(number: int, tenant: str, tokens: int = 100) -> SeatAsk:
    info = b'{"hold": "%s"}' % (b"x" * 200)
    return SeatAsk(
        pool_id=POOL, request_id=f"r{number}", tenant_id=tenant, tokens=tokens, info=info, queue_depth=10**6
    )


def seat_costs(client: "redis.Redis", tenants: int, *, waiting: bool) -> dict[str, float]:
    """Either an idle pool that knows so many tenants, or a full one where each of them waits."""
    client.flushall()
    sender, capacity = Sender(client), Capacity(1) if waiting else ROOMY
    for number in range(tenants):
        sender.enter(ask(number, f"tenant-{number}"), capacity)
        if not waiting:
            sender.finish(f"r{number}", capacity)
    entering: list[float] = []
    finishing: list[float] = []

    def request(turn: int) -> None:
        number = tenants + turn
        timed(lambda: sender.enter(ask(number, f"tenant-{number % tenants}"), capacity), entering)
        # While others wait the seat is the first one's; requests in the order of turns come to that.
        ended = turn if waiting else number
        timed(lambda: sender.finish(f"r{ended}", capacity), finishing)

    client.config_resetstat()
    paced(int(RATE * SECONDS), request)
    spent: Any = client.info("commandstats")
    return {
        "enter_p50_ms": percentile(entering, 50),
        "enter_p99_ms": percentile(entering, 99),
        "finish_p50_ms": percentile(finishing, 50),
        "finish_p99_ms": percentile(finishing, 99),
        "script_us": spent["cmdstat_evalsha"]["usec_per_call"],
    }


def percentile(values: list[float], percent: int) -> float:
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 3)


class BusyPool:
    def ids(self) -> Iterable[str]:
        return (POOL,)

    def capacity(self, _: str) -> Capacity:
        return Capacity(BUSY, BUSY * 200)


async def nothing_lost(found: Sequence[Lost]) -> None:
    message = f"{len(found)} requests were taken for dead"
    raise AssertionError(message)


async def service(redis_url: str, *, weight: int) -> float:
    """Tokens of the tenant that sends ten times as much, per token of the other, while both wait.

    Two gateways; ``weight`` is the eager tenant's, the other has 1. First come, first served would be 10.
    """
    chance, used = random.Random(7), Counter[str]()  # noqa: S311 - the same requests every time
    measured = Counter[str]()
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    async with contextlib.AsyncExitStack() as stack:
        queues = []
        for name in ("gw-1", "gw-2"):
            client = await stack.enter_async_context(
                aredis.Redis.from_url(redis_url, max_connections=AT_ONCE)
            )
            one = FairQueue(
                client,
                gateway_id=name,
                pools=BusyPool(),
                reaped=nothing_lost,
                # All clients are one busy event loop here.
                beat_ttl=timedelta(seconds=60),
            )
            running = asyncio.create_task(one.run())
            stack.push_async_callback(stop, running)
            queues.append((one, client))

        async def request(number: int, tenant: str, tokens: int, actual: int) -> None:
            one, client = queues[number % 2]
            wanted = SeatAsk(
                pool_id=POOL,
                request_id=f"r{number}",
                tenant_id=tenant,
                tokens=tokens,
                weight=weight if tenant == "eager" else 1,
                queue_depth=10**6,
                wait_ms=600_000,
            )
            seat = await one.enter(wanted)
            waiting = sum((other.waiting(POOL) for other, _ in queues), Counter())
            used[tenant] += actual
            if waiting["eager"] and waiting["calm"]:
                measured.update({tenant: actual})
            await asyncio.sleep(actual / 100_000)
            async with client.pipeline(transaction=False) as pipeline:
                one.finish_commands(pipeline, seat, actual)
                await pipeline.execute()

        sizes = [chance.randrange(20, 200) for _ in range(AT_ONCE)]
        jobs = [
            request(number, "calm" if number % 11 == 10 else "eager", size, chance.randrange(1, size + 1))
            for number, size in enumerate(sizes)
        ]
        await asyncio.gather(*jobs)
    return round(measured["eager"] / measured["calm"], 2)


async def stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def figures(redis_url: str) -> dict[str, Any]:
    """Empties the Redis at ``redis_url``."""
    result: dict[str, Any] = {"rate": RATE}
    with redis.Redis.from_url(redis_url) as client:
        for tenants in (10, 10_000):
            for kind, waiting in (("known", False), ("waiting", True)):
                for name, value in seat_costs(client, tenants, waiting=waiting).items():
                    result[f"{kind}_{tenants}_{name}"] = value
    for weight in (1, 3):
        result[f"service_ratio_weight_{weight}"] = asyncio.run(service(redis_url, weight=weight))
    return result


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        own = OwnRedis(Path(folder))
        own.start()
        try:
            sys.stdout.write(json.dumps(figures(own.url)) + "\n")
        finally:
            own.kill()


if __name__ == "__main__":
    main()
