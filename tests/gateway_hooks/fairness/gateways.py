"""Gateways for tests, each with a queue and a Redis connection pool of its own."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import redis.asyncio as aredis

from gateway_hooks.contract import pool_keys
from gateway_hooks.fairness.ask import Capacity, Lost, Seat
from gateway_hooks.fairness.queue import FairQueue
from tests.gateway_hooks.fairness.asks import POOL

QUICK = {"beat": timedelta(milliseconds=50), "poll": timedelta(milliseconds=50)}


@dataclass
class OnePool:
    """What gateways know of the pools; a test may change it."""

    size: Capacity

    def ids(self) -> Iterable[str]:
        return (POOL,)

    def capacity(self, pool_id: str) -> Capacity:
        assert pool_id == POOL
        return self.size


@dataclass
class Gateway:
    queue: FairQueue
    client: aredis.Redis
    lost: list[Lost] = field(default_factory=list)

    async def finish(self, seat: Seat, actual: int | None = None) -> None:
        async with self.client.pipeline(transaction=False) as pipeline:
            self.queue.finish_commands(pipeline, seat, actual)
            await pipeline.execute()

    async def seated(self) -> int:
        return await self.client.hlen(pool_keys.seats(POOL))

    async def waiting(self) -> int:
        return await self.client.hlen(pool_keys.asks(POOL))


@contextlib.asynccontextmanager
async def gateway(
    gateway_id: str,
    pools: OnePool,
    *,
    deaf: bool = False,
    socket_timeout: float | None = None,
    **timing: timedelta,
) -> AsyncIterator[Gateway]:
    """``deaf``: no heartbeat, no messages, no polls."""
    lost: list[Lost] = []

    async def reaped(found: Sequence[Lost]) -> None:
        lost.extend(found)

    async with aredis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=socket_timeout) as client:
        queue = FairQueue(client, gateway_id=gateway_id, pools=pools, reaped=reaped, **timing)
        running = asyncio.create_task(asyncio.Event().wait() if deaf else queue.run())
        try:
            yield Gateway(queue, client, lost)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def until(done: Callable[[], object], *, seconds: float = 20.0) -> None:
    """Until ``done()``, which may be awaitable, is true; fails when it is not in time."""
    async with asyncio.timeout(seconds):
        while True:
            answer = done()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.005)
