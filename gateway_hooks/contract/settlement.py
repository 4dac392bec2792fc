"""Money holds in Redis, as scripts: whoever first knows what a request cost settles it, once.

A hold is written by the gateway's admission with the worst case already counted in every spend
key it names. Settling replaces the worst case by the actual; a second settlement finds no hold and
does nothing. So a gateway that dies leaves the worst case standing until the engine's event
settles it: a limit is never overspent in between.
"""

SETTLE_FUNCTION = """
local function settle(holds, id, micro)
  local raw = redis.call('HGET', holds, id)
  if not raw then return 0 end
  redis.call('HDEL', holds, id)
  local hold = cjson.decode(raw)
  local delta = micro - hold.micro
  for _, key in ipairs(hold.keys) do
    -- A counter whose period is long over has expired; it must not come back without an end.
    if redis.call('EXISTS', key) == 1 then redis.call('INCRBY', key, delta) end
  end
  return 1
end
"""
"""Lua, for the scripts that end a request: ended and settled are one step there."""

SETTLE = (
    SETTLE_FUNCTION
    + """
-- KEYS[1] holds of the tenant   ARGV[1] request id   ARGV[2] actual micro-currency
-- 1 if this call settled it, 0 if there was nothing (left) to settle
return settle(KEYS[1], ARGV[1], tonumber(ARGV[2]))
"""
)

RAISE_SPEND = """
-- KEYS[1] a spend key   ARGV[1] micro-currency known to the ledger   ARGV[2] seconds to keep it
-- After Redis lost its counters they start again from the ledger, never from nothing.
local current = tonumber(redis.call('GET', KEYS[1]) or '0')
if current < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('GET', KEYS[1])
"""

SPEND_KEPT_SECONDS = 70 * 24 * 3600
"""A month's counter outlives the month by far more than any late settlement."""

DAY_KEPT_SECONDS = 3 * 24 * 3600
"""The same of a day's counter."""
