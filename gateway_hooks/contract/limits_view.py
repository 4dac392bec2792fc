"""What is used of every limit right now: for headers, for the console, and for whoever looks from outside.

``used_command`` is a Redis command that changes nothing; ``read_used`` reads its answer; ``limit_uses`` puts
limits beside it. A kind that is not limited at a scope other than the tenant is not counted there, so a limit
set now has seen everything only after one window.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import Limits


class Used(msgspec.Struct, frozen=True):
    """A scope's counters; 0 where a kind is not counted. Money in micro-currency, settled plus reserved."""

    requests: int = 0
    tokens: int = 0
    concurrent: int = 0
    kv_bytes: int = 0
    daily_micro: int = 0
    monthly_micro: int = 0


class LimitUse(NamedTuple):
    """``kind`` is the field's name in ``Limits``."""

    kind: str
    limit: int
    used: int


_COUNTED = {
    "requests_per_minute": "requests",
    "tokens_per_minute": "tokens",
    "concurrency": "concurrent",
    "kv_bytes": "kv_bytes",
    "daily_spend_micro": "daily_micro",
    "monthly_spend_micro": "monthly_micro",
}

USED_NOW = """
-- KEYS: requests window, tokens amounts, leases, KV amounts, spend of the day, of the month
-- Answer: requests, tokens, concurrent, KV bytes, money of the day, of the month
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Admission forgets what is over only when it next comes by, so totals still hold it.
local function total(set, hash, edge)
  local left, from = tonumber(redis.call('HGET', hash, 'total') or 0), 0
  repeat
    local over = redis.call('ZRANGEBYSCORE', set, '-inf', edge, 'LIMIT', from, 1000)
    if #over > 0 then
      for _, amount in ipairs(redis.call('HMGET', hash, unpack(over))) do
        if amount then left = left - amount end
      end
    end
    from = from + 1000
  until #over < 1000
  return left
end
local start = now - 60000
return {
  redis.call('ZCOUNT', KEYS[1], '(' .. start, '+inf'),
  total(KEYS[1], KEYS[2], start),
  redis.call('ZCOUNT', KEYS[3], '(' .. now, '+inf'),
  total(KEYS[3], KEYS[4], now),
  tonumber(redis.call('GET', KEYS[5]) or 0),
  tonumber(redis.call('GET', KEYS[6]) or 0),
}
"""


def used_command(tenant_id: str, scope: str, *, day: str, month: str) -> list[str | int]:
    """For a client's or pipeline's ``execute_command(*command)``; one per scope."""
    names = (
        keys.requests_window(tenant_id, scope),
        keys.tokens_amounts(tenant_id, scope),
        keys.leases(tenant_id, scope),
        keys.kv_amounts(tenant_id, scope),
        keys.spend(tenant_id, scope, day),
        keys.spend(tenant_id, scope, month),
    )
    return ["EVAL", USED_NOW, len(names), *names]


def read_used(answer: Sequence[int]) -> Used:
    return Used(*answer)


def limit_uses(limits: Limits, used: Used) -> Iterator[LimitUse]:
    """Each kind that ``limits`` sets and that can be used up; the context cap is of one request."""
    for kind, counter in _COUNTED.items():
        limit = getattr(limits, kind)
        if limit is not None:
            yield LimitUse(kind, limit, getattr(used, counter))
