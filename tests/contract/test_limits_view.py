"""What a looker sees is what admission counts, though it changes nothing."""

import os
from typing import Any

import pytest
import redis
import redis.asyncio as aredis

from gateway_hooks.admission.redis_ledger import AdmissionLedger
from gateway_hooks.contract import keys
from gateway_hooks.contract.limits_view import LimitUse, Used, limit_uses, read_used, used_command
from gateway_hooks.contract.snapshot import Limits
from tests.gateway_hooks.admission.cases import MONTH, TENANT, TODAY, ask, scopes_of, with_ledger

LIMITED = Limits(requests_per_minute=100, tokens_per_minute=10_000, concurrency=100, kv_bytes=10**9)
NAMES = ("tenant", "app.a1", "key.k1")


async def look(client: aredis.Redis) -> list[Used]:
    async with client.pipeline(transaction=False) as pipeline:
        for name in NAMES:
            pipeline.execute_command(*used_command(TENANT, name, day=TODAY.name, month=MONTH.name))
        return [read_used(answer) for answer in await pipeline.execute()]


async def milliseconds(client: aredis.Redis) -> int:
    seconds, micros = await client.time()
    return int(seconds) * 1000 + int(micros) // 1000


@pytest.mark.usefixtures("redis_client")
def test_a_looker_sees_what_the_last_verdict_said():
    scopes = scopes_of(LIMITED, app=LIMITED)

    async def run(ledger: AdmissionLedger, client: aredis.Redis) -> Any:
        for number in range(5):
            verdict = await ledger.admit(ask(str(number), *scopes))
        return list(verdict.counters), await look(client)

    counted, seen = with_ledger(os.environ["REDIS_URL"], run)

    assert seen == counted
    assert seen[0] == Used(5, 100, 5, 10_000, 100, 100)
    assert seen[2] == Used(daily_micro=100, monthly_micro=100)


def test_what_is_over_is_not_seen_though_nobody_has_forgotten_it_yet(redis_client: "redis.Redis"):
    count = 1100

    async def run(ledger: AdmissionLedger, client: aredis.Redis) -> list[Used]:
        now = await milliseconds(client)
        for number in range(count):
            await ledger.admit(ask(f"old{number}", lease_ms=35_000), now_ms=now - 60_000)
        await ledger.admit(ask("live", lease_ms=600_000), now_ms=now - 30_000)
        return await look(client)

    (tenant, *_) = with_ledger(os.environ["REDIS_URL"], run)

    held = [redis_client.zcard(name(TENANT, "tenant")) for name in (keys.requests_window, keys.leases)]
    assert held == [count + 1] * 2
    assert tenant == Used(1, 20, 1, 2000, 20 * (count + 1), 20 * (count + 1))


def test_only_what_is_limited_and_can_be_used_up_is_shown():
    limits = Limits(tokens_per_minute=100, context_tokens=10, daily_spend_micro=0)

    shown = list(limit_uses(limits, Used(tokens=60)))

    assert shown == [LimitUse("tokens_per_minute", 100, 60), LimitUse("daily_spend_micro", 0, 0)]
