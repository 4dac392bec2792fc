"""Admissions for tests, and a Redis that answers them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import redis.asyncio as aredis

from gateway_hooks.admission.ledger import AdmissionLedger
from gateway_hooks.admission.verdict import Ask, Scope
from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import Limits

T = TypeVar("T")
NO_LIMITS = Limits()


def ask(request_id: str, *, tenant: Limits = NO_LIMITS, key: Limits = NO_LIMITS, **changes: object) -> Ask:
    values: dict[str, object] = {
        "tenant_id": "acme",
        "month": "2026-11",
        "tokens": 10,
        "micro": 100,
        "lease_ms": 30_000,
        "at_ms": 1_700_000_000_000,
        **changes,
    }
    scopes = (Scope(keys.TENANT_SCOPE, tenant), Scope(keys.key_scope("k1"), key))
    return Ask(request_id=request_id, scopes=scopes, **values)  # type: ignore[arg-type]


def with_ledger(url: str, work: Callable[[AdmissionLedger, aredis.Redis], Awaitable[T]]) -> T:
    async def run() -> T:
        async with aredis.Redis.from_url(url) as client:
            return await work(AdmissionLedger(client), client)

    return asyncio.run(run())


async def finish(
    ledger: AdmissionLedger, client: aredis.Redis, done: Ask, *, tokens: int | None, micro: int | None
) -> None:
    async with client.pipeline(transaction=False) as pipeline:
        await ledger.finish(pipeline, done, tokens=tokens, micro=micro)
        await pipeline.execute()
