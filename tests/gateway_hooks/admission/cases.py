"""Asks for the tests of the admission rule, and a Redis that answers them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import redis
import redis.asyncio as aredis
from hypothesis import strategies as st

from gateway_hooks.admission.admit_script import ADMIT
from gateway_hooks.admission.ask import Ask, Scope
from gateway_hooks.admission.decision import Verdict
from gateway_hooks.admission.periods import Period
from gateway_hooks.admission.redis_ledger import (
    AdmissionLedger,
    admission_argument,
    admission_keys,
    read_verdict,
)
from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import Limits

T = TypeVar("T")
TENANT = "acme"
START = 1_700_000_000_000
NO_LIMITS = Limits()
DAY_MS = 24 * 3600 * 1000
TODAY = Period("2026-11-21", START + DAY_MS)
MONTH = Period("2026-11", START + 9 * DAY_MS)


def scopes_of(
    tenant: Limits = NO_LIMITS,
    *,
    app: Limits = NO_LIMITS,
    key: Limits = NO_LIMITS,
    user: Limits | None = None,
    user_name: str = "u1",
) -> tuple[Scope, ...]:
    scopes = [
        Scope(keys.TENANT_SCOPE, tenant),
        Scope(keys.app_scope("a1"), app),
        Scope(keys.key_scope("k1"), key),
    ]
    return (*scopes, *([] if user is None else [Scope(keys.user_scope(user_name), user)]))


def ask(request_id: str, *scopes: Scope, tenant: Limits = NO_LIMITS, **changes: Any) -> Ask:
    """A request of 10 + 10 tokens at a micro per token."""
    values: dict[str, Any] = {
        "tenant_id": TENANT,
        "at_ms": START,
        "day": TODAY,
        "month": MONTH,
        "prompt_tokens": 10,
        "max_output": 10,
        "input_micro": 1_000_000,
        "output_micro": 1_000_000,
        "kv_bytes_per_token": 100,
        **changes,
    }
    return Ask(request_id=request_id, scopes=scopes or scopes_of(tenant), **values)


def with_ledger(
    url: str, work: Callable[[AdmissionLedger, aredis.Redis], Awaitable[T]], *, max_end_users: int = 1000
) -> T:
    async def run() -> T:
        async with aredis.Redis.from_url(url) as client:
            return await work(AdmissionLedger(client, max_end_users=max_end_users), client)

    return asyncio.run(run())


async def sent(client: aredis.Redis, work: Callable[[Any], Awaitable[None]]) -> list[Any]:
    """What the commands that ``work`` queues on a pipeline answer."""
    async with client.pipeline(transaction=False) as pipeline:
        await work(pipeline)
        return await pipeline.execute()


def admit_now(client: "redis.Redis", one: Ask, *, now_ms: int | None = None) -> Verdict:
    """Without a loop, for threads and for tests that look at Redis afterwards."""
    names = admission_keys(one)
    answer: Any = client.eval(ADMIT, len(names), *names, admission_argument(one, now_ms=now_ms))
    return read_verdict(answer)


def maybe(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    return st.none() | numbers


LIMITS = st.builds(
    Limits,
    requests_per_minute=maybe(st.integers(0, 6)),
    tokens_per_minute=maybe(st.integers(0, 150)),
    concurrency=maybe(st.integers(0, 6)),
    kv_bytes=maybe(st.integers(0, 9000)),
    context_tokens=maybe(st.integers(0, 60)),
    daily_spend_micro=maybe(st.integers(0, 1000)),
    monthly_spend_micro=maybe(st.integers(0, 2000)),
)
"""Each kind that an ask of some tens of tokens may meet."""
