"""Brings stored versions to Redis, where gateways fetch them. Never an older one over a newer one."""

from collections.abc import Mapping
from typing import cast

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import HEAD_BYTES, version_at_head
from portal.core.redis import client

# A snapshot's JSON begins with its version, so it need not be parsed to compare.
_HELD = """
local function held()
  local named = redis.call('GET', KEYS[1])
  local head = string.match(redis.call('GETRANGE', KEYS[2], 0, 31), '^{"version":(%d+),')
  return head and tonumber(named or head)
end
"""
_DELIVER = (
    _HELD
    + """
-- KEYS: newest version, snapshot, deltas
-- ARGV: newest version, content, channel, then version and delta in turn
-- 1 if Redis took it, 0 if it already holds this version or a newer one
if (held() or -1) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[3])
for i = 4, #ARGV, 2 do redis.call('ZADD', KEYS[3], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[3], ARGV[1])
return 1
"""
)
_DELIVER_DELTA = (
    _HELD
    + """
-- KEYS: newest version, snapshot, deltas   ARGV: version, base, delta, channel
-- 1 if Redis took it or holds this version or a newer one; 0 if it is not where the delta begins
local now = held() or -1
if now >= tonumber(ARGV[1]) then return 1 end
if now ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[3], ARGV[1], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[4], ARGV[1])
return 1
"""
)
_REFRESH = """
-- KEYS: newest version, snapshot, deltas   ARGV: version, content, versions of deltas to keep for laggards
-- The whole of a version that Redis has by deltas: nobody who is up to date need read it.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[1] - ARGV[3])
return 1
"""
_KEYS = [keys.SNAPSHOT_NEWEST, keys.SNAPSHOT, keys.SNAPSHOT_DELTAS]
LAGGARDS = 50


def held_version() -> int:
    """The version that Redis holds, 0 for none. Raises ``REDIS_AWAY``."""
    with client().pipeline(transaction=True) as pipeline:
        pipeline.get(keys.SNAPSHOT_NEWEST)
        pipeline.getrange(keys.SNAPSHOT, 0, HEAD_BYTES - 1)
        newest, head = pipeline.execute()
    whole = version_at_head(cast("bytes", head))
    return 0 if whole is None else int(newest or whole)


def deliver(*, version: int, content: bytes, deltas: Mapping[int, bytes] | None = None) -> bool:
    """Store a whole snapshot with the ``deltas`` from it to ``version`` and notify.

    False where Redis holds this version or a newer one. Raises ``REDIS_AWAY``.
    """
    chain: list[int | bytes] = [part for entry in (deltas or {}).items() for part in entry]
    arguments: list[int | bytes | str] = [version, content, keys.SNAPSHOT_CHANGED, *chain]
    return bool(client().register_script(_DELIVER)(keys=_KEYS, args=arguments))


def deliver_delta(*, version: int, base: int, delta: bytes) -> bool:
    """Add one delta and notify; False where Redis is not at ``base``. Raises ``REDIS_AWAY``."""
    arguments = [version, base, delta, keys.SNAPSHOT_CHANGED]
    return bool(client().register_script(_DELIVER_DELTA)(keys=_KEYS, args=arguments))


def refresh(*, version: int, content: bytes) -> bool:
    """Renew the whole snapshot where Redis is at ``version`` by deltas. Raises ``REDIS_AWAY``."""
    return bool(client().register_script(_REFRESH)(keys=_KEYS, args=[version, content, LAGGARDS]))
