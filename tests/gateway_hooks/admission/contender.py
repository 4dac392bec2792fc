"""A process that competes for limits, or holds a lease until it is killed.

``python -m tests.gateway_hooks.admission.contender race|unguarded|hold <redis url> <name>``
"""

import asyncio
import sys
from datetime import timedelta
from typing import Any

import redis.asyncio as aredis

from gateway_hooks.admission.ask import Ask
from gateway_hooks.admission.decision import Verdict
from gateway_hooks.admission.lease_keeper import LeaseKeeper
from gateway_hooks.admission.redis_ledger import AdmissionLedger
from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import Limits
from gateway_hooks.redis_door import RedisDoor
from tests.gateway_hooks.admission.cases import TENANT, TODAY, ask, scopes_of, sent

ALLOWED, EACH, AT_ONCE = 60, 40, 8
RACE_LIMITS = Limits(requests_per_minute=ALLOWED, tokens_per_minute=20 * ALLOWED, concurrency=ALLOWED)
KEY_LIMITS = Limits(daily_spend_micro=20 * ALLOWED, kv_bytes=2000 * ALLOWED)
HOLD_LIMITS = Limits(concurrency=1, kv_bytes=2000)
LEASE_MS = 1000
RENEW_EVERY = timedelta(milliseconds=250)
GATE = "gate"


async def race(client: aredis.Redis, name: str) -> None:
    ledger = AdmissionLedger(client)

    async def one(number: int) -> bool:
        # One in five has a worst case too large, and is clamped to what is left.
        changes: dict[str, Any] = {"max_output": 40, "clamp": True} if number % 5 == 0 else {}
        asked = ask(f"{name}-{number}", *scopes_of(RACE_LIMITS, key=KEY_LIMITS), **changes)
        verdict = await ledger.admit(asked)
        if verdict.refusal is None and number % 7 == 0:
            await sent(client, lambda pipeline: ledger.cancel(pipeline, asked))
            return False
        return verdict.refusal is None

    await _all_at_once(client, one)


async def unguarded(client: aredis.Redis, _name: str) -> None:
    """What the script is there for: look first, take then."""
    spent = keys.spend(TENANT, "key.k1", TODAY.name)

    async def one(_number: int) -> bool:
        if int(await client.get(spent) or 0) + 20 > 20 * ALLOWED:
            return False
        await client.incrby(spent, 20)
        return True

    await _all_at_once(client, one)


async def _all_at_once(client: aredis.Redis, one: Any) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async def guarded(number: int) -> bool:
        async with limit:
            return bool(await one(number))

    await client.incr("ready")
    await client.brpop([GATE])
    admitted = await asyncio.gather(*(guarded(number) for number in range(EACH)))
    sys.stdout.write(f"{sum(admitted)}\n")


async def hold(url: str, name: str) -> None:
    door = RedisDoor(url, timeout=timedelta(seconds=5), pause=timedelta(seconds=1))
    ledger = AdmissionLedger(door.client)
    keeper = LeaseKeeper(ledger)
    asked: Ask = ask(name, tenant=HOLD_LIMITS, lease_ms=LEASE_MS)
    loop = asyncio.get_running_loop()
    verdict: Verdict = await ledger.admit(asked)
    keeper.hold(asked, now=loop.time())
    sys.stdout.write(f"{verdict.refusal}\n")
    sys.stdout.flush()
    await keeper.run(door, RENEW_EVERY, clock=loop.time)


async def main(mode: str, url: str, name: str) -> None:
    if mode == "hold":
        await hold(url, name)
        return
    async with aredis.Redis.from_url(url) as client:
        await {"race": race, "unguarded": unguarded}[mode](client, name)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
