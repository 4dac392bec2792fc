"""Brings a stored version to Redis, where gateways fetch it. Never an older one over a newer one."""

from typing import cast

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import HEAD_BYTES, version_at_head
from portal.core.redis import client

# A snapshot's JSON begins with its version, so it need not be parsed to compare.
_DELIVER = """
-- KEYS[1] snapshot   ARGV[1] version   ARGV[2] content   ARGV[3] channel
-- 1 if Redis took it, 0 if it already holds this version or a newer one
local held = string.match(redis.call('GETRANGE', KEYS[1], 0, 31), '^{"version":(%d+),')
if held and tonumber(held) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[1])
return 1
"""


def held_version() -> int:
    """The version that Redis holds, 0 for none. Raises ``REDIS_AWAY``."""
    head = cast("bytes", client().getrange(keys.SNAPSHOT, 0, HEAD_BYTES - 1))
    return version_at_head(head) or 0


def deliver(*, version: int, content: bytes) -> bool:
    """Store ``content`` and notify, unless Redis holds this version or a newer one. Raises ``REDIS_AWAY``."""
    script = client().register_script(_DELIVER)
    return bool(script(keys=[keys.SNAPSHOT], args=[version, content, keys.SNAPSHOT_CHANGED]))
