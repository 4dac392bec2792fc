"""Requests for a seat, and a Redis that answers them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import redis.asyncio as aredis

from gateway_hooks.fairness.ask import SeatAsk
from gateway_hooks.fairness.ledger import PoolLedger

T = TypeVar("T")
POOL = "pool-1"
BEAT_MS = 5000


def seat_ask(request_id: str, tenant_id: str = "acme", **changes: Any) -> SeatAsk:
    values: dict[str, Any] = {"pool_id": POOL, "tokens": 10, "info": f'{{"r":"{request_id}"}}'.encode()}
    return SeatAsk(request_id=request_id, tenant_id=tenant_id, **{**values, **changes})


def with_client(url: str, work: Callable[[aredis.Redis], Awaitable[T]]) -> T:
    async def run() -> T:
        async with aredis.Redis.from_url(url) as client:
            return await work(client)

    return asyncio.run(run())


def ledger(client: aredis.Redis, gateway_id: str = "gw-1", *, beat_ms: int = BEAT_MS) -> PoolLedger:
    return PoolLedger(client, gateway_id=gateway_id, beat_ms=beat_ms)
