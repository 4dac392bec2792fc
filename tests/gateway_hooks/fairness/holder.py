"""A gateway process for tests: it takes seats, waits for more, and says so; then it waits to be killed."""

import argparse
import asyncio
import sys
from datetime import timedelta

from gateway_hooks.fairness.ask import Capacity
from tests.gateway_hooks.fairness.asks import seat_ask
from tests.gateway_hooks.fairness.gateways import OnePool, gateway, until


async def hold(gateway_id: str, *, seats: int, waiting: int, ttl_ms: int) -> None:
    pools = OnePool(Capacity(seats, 1000))
    timing = {"beat": timedelta(milliseconds=ttl_ms // 5), "beat_ttl": timedelta(milliseconds=ttl_ms)}
    async with gateway(gateway_id, pools, **timing) as one:
        names = [f"{gateway_id}-{number}" for number in range(seats + waiting)]
        tasks = [asyncio.create_task(one.queue.enter(seat_ask(name, "dead"))) for name in names]
        await until(lambda: sum(task.done() for task in tasks) == seats)
        await until(lambda: sum(one.queue.waiting("pool-1").values()) == waiting)
        sys.stdout.write("holding\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("gateway_id")
    parser.add_argument("--seats", type=int, required=True)
    parser.add_argument("--waiting", type=int, required=True)
    parser.add_argument("--ttl-ms", type=int, required=True)
    given = parser.parse_args()
    asyncio.run(hold(given.gateway_id, seats=given.seats, waiting=given.waiting, ttl_ms=given.ttl_ms))
