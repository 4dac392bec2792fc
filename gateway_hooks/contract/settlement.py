"""Money holds in Redis, as scripts: whoever first knows what a request cost settles it, once.

A hold is written by the gateway's admission with the worst case already counted in every spend
key it names. Settling replaces the worst case by the actual; a second settlement finds no hold and
does nothing. So a gateway that dies leaves the worst case standing until the engine's event
settles it: a limit is never overspent in between.
"""

SETTLE = """
-- KEYS[1] holds of the tenant   ARGV[1] request id   ARGV[2] actual micro-currency
-- 1 if this call settled it, 0 if there was nothing (left) to settle
local raw = redis.call('HGET', KEYS[1], ARGV[1])
if not raw then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
local hold = cjson.decode(raw)
local delta = string.format('%d', tonumber(ARGV[2]) - hold.micro)
for _, key in ipairs(hold.keys) do redis.call('INCRBY', key, delta) end
return 1
"""

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
