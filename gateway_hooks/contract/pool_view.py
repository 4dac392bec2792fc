"""What a pool's queue looks like now, read by one script: for the console and for metrics.

``client`` is any Redis client that has ``eval``. A client that is awaited does the same with
``POOL_VIEW``, ``pool_view_keys`` and ``parse_pool_view``.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from gateway_hooks.contract import pool_keys
from gateway_hooks.contract.pool_keys import COUNTER_SCALE

POOL_VIEW = """
-- KEYS: seats, asks, gateways, state
-- Answer: time ms, seats, asks, (gateway, end of heartbeat ms)..., (tenant, counter, band)...
local prefix = string.sub(KEYS[4], 1, -6)
local seats, asks = redis.call('HVALS', KEYS[1]), redis.call('HVALS', KEYS[2])
local seen, tenants = {}, {}
for _, records in ipairs({seats, asks}) do
  for _, record in ipairs(records) do
    local name = cjson.decode(record).t
    if not seen[name] then
      seen[name] = true
      local known = redis.call('HMGET', prefix .. 'tenant:' .. name, 'counter', 'band')
      tenants[#tenants + 1] = {name, known[1] or '0', known[2] or '0'}
    end
  end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {now, seats, asks, redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES'), tenants}
"""


class TenantInPool(msgspec.Struct, frozen=True, kw_only=True):
    """``counter`` is its virtual service: tokens divided by weight. Tenants of one ``band`` compare."""

    tenant_id: str
    band: int
    counter: int
    waiting: int
    waiting_tokens: int
    seats: int
    tokens: int


class GatewayInPool(msgspec.Struct, frozen=True, kw_only=True):
    """``beat_ms`` are left of its heartbeat; below 0 it is dead and its seats are about to be taken back."""

    gateway_id: str
    beat_ms: int
    seats: int
    waiting: int


class PoolView(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens are as projected. Tenants come in the order of their turn, gateways by id."""

    pool_id: str
    seats: int
    tokens: int
    waiting: int
    tenants: tuple[TenantInPool, ...]
    gateways: tuple[GatewayInPool, ...]


class _Record(msgspec.Struct, frozen=True):
    g: str
    t: str
    n: int


class EvalClient(Protocol):
    """The one command that is needed."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...


def pool_view_keys(pool_id: str) -> list[str]:
    return [
        pool_keys.seats(pool_id),
        pool_keys.asks(pool_id),
        pool_keys.gateways(pool_id),
        pool_keys.state(pool_id),
    ]


def read_pool_view(client: EvalClient, pool_id: str) -> PoolView:
    names = pool_view_keys(pool_id)
    return parse_pool_view(pool_id, client.eval(POOL_VIEW, len(names), *names))


_decoder = msgspec.json.Decoder(_Record)


def parse_pool_view(pool_id: str, answer: Sequence[Any]) -> PoolView:
    """``answer`` as it comes from Redis, texts as bytes."""
    now, seats_raw, asks_raw, beats, tenants = answer
    seats = [_decoder.decode(raw) for raw in seats_raw]
    asks = [_decoder.decode(raw) for raw in asks_raw]
    return PoolView(
        pool_id=pool_id,
        seats=len(seats),
        tokens=sum(one.n for one in seats),
        waiting=len(asks),
        tenants=_tenants(tenants, seats, asks),
        gateways=_gateways(beats, now, seats, asks),
    )


def _tenants(rows: Sequence[Any], seats: list[_Record], asks: list[_Record]) -> tuple[TenantInPool, ...]:
    seated, waiting = _by_tenant(seats), _by_tenant(asks)
    found = []
    for raw, counter, band in rows:
        name = raw.decode()
        tenant = TenantInPool(
            tenant_id=name,
            band=int(band),
            counter=int(counter) // COUNTER_SCALE,
            waiting=len(waiting[name]),
            waiting_tokens=sum(waiting[name]),
            seats=len(seated[name]),
            tokens=sum(seated[name]),
        )
        found.append(tenant)
    return tuple(sorted(found, key=lambda one: (one.band, one.counter, one.tenant_id)))


def _by_tenant(records: list[_Record]) -> defaultdict[str, list[int]]:
    tokens: defaultdict[str, list[int]] = defaultdict(list)
    for one in records:
        tokens[one.t].append(one.n)
    return tokens


def _gateways(
    beats: Sequence[Any], now: int, seats: list[_Record], asks: list[_Record]
) -> tuple[GatewayInPool, ...]:
    seated, waiting = Counter(one.g for one in seats), Counter(one.g for one in asks)
    ends = {raw.decode(): int(float(end)) - now for raw, end in zip(beats[::2], beats[1::2], strict=True)}
    return tuple(
        GatewayInPool(gateway_id=name, beat_ms=ends[name], seats=seated[name], waiting=waiting[name])
        for name in sorted(ends)
    )
