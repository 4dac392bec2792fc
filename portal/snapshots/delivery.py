"""Brings stored versions to Redis, where gateways fetch them. Never an older one over a newer one."""

from collections.abc import Sequence
from typing import NamedTuple, cast

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import HEAD_BYTES
from gateway_hooks.contract.snapshot_mark import Mark, held_mark
from portal.core.redis import client

# A snapshot's JSON begins with its version, so it need not be parsed to compare.
_HELD = """
local function held()
  local named = string.match(redis.call('GET', KEYS[1]) or '', '^%d+')
  local head = string.match(redis.call('GETRANGE', KEYS[2], 0, 31), '^{"version":(%d+),')
  return head and tonumber(named or head)
end
"""
_DELIVER = (
    _HELD
    + """
-- KEYS: newest version, snapshot, deltas
-- ARGV: newest version, its mark, content, channel, then version and delta in turn
-- 1 if Redis took it, 0 if it already holds this version or a newer one
if (held() or -1) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[2], ARGV[3])
redis.call('DEL', KEYS[3])
for i = 5, #ARGV, 2 do redis.call('ZADD', KEYS[3], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[4], ARGV[1])
return 1
"""
)
_DELIVER_DELTA = """
-- KEYS: newest version, snapshot, deltas   ARGV: version, its mark, the base's mark, delta, channel
-- 1 if Redis took it, 0 if it is not where the delta begins
if redis.call('GET', KEYS[1]) ~= ARGV[3] or redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
redis.call('ZADD', KEYS[3], ARGV[1], ARGV[4])
redis.call('SET', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[5], ARGV[1])
return 1
"""
_REFRESH = """
-- KEYS: newest version, snapshot, deltas   ARGV: version, its mark, content, deltas to keep for laggards
-- The whole of a version that Redis has by deltas: nobody who is up to date need read it.
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[2], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[1] - ARGV[4])
return 1
"""
_KEYS = [keys.SNAPSHOT_NEWEST, keys.SNAPSHOT, keys.SNAPSHOT_DELTAS]
LAGGARDS = 50


class Delta(NamedTuple):
    version: int
    encoded: bytes


def held() -> Mark:
    """What Redis holds, version 0 for nothing. Raises ``REDIS_AWAY``."""
    with client().pipeline(transaction=True) as pipeline:
        pipeline.get(keys.SNAPSHOT_NEWEST)
        pipeline.getrange(keys.SNAPSHOT, 0, HEAD_BYTES - 1)
        newest, head = pipeline.execute()
    return held_mark(cast("bytes | None", newest), cast("bytes", head)) or Mark(0, None)


def deliver(newest: Mark, content: bytes, deltas: Sequence[Delta] = ()) -> bool:
    """Store a whole snapshot with the ``deltas`` from it to ``newest`` and notify.

    False where Redis holds this version or a newer one. Raises ``REDIS_AWAY``.
    """
    arguments: list[int | bytes | str] = [newest.version, str(newest), content, keys.SNAPSHOT_CHANGED]
    for delta in deltas:
        arguments += delta
    return bool(client().register_script(_DELIVER)(keys=_KEYS, args=arguments))


def deliver_delta(newest: Mark, delta: bytes, *, base: Mark) -> bool:
    """Add one delta and notify; False where Redis is not at ``base``. Raises ``REDIS_AWAY``."""
    arguments: list[int | bytes | str] = [
        newest.version,
        str(newest),
        str(base),
        delta,
        keys.SNAPSHOT_CHANGED,
    ]
    return bool(client().register_script(_DELIVER_DELTA)(keys=_KEYS, args=arguments))


def refresh(newest: Mark, content: bytes) -> bool:
    """Renew the whole snapshot where Redis is at ``newest`` by deltas. Raises ``REDIS_AWAY``."""
    arguments: list[int | bytes | str] = [newest.version, str(newest), content, LAGGARDS]
    return bool(client().register_script(_REFRESH)(keys=_KEYS, args=arguments))
