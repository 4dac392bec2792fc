"""What comes after an admission, as Lua: the end, renewals, and counting late what Redis missed."""

from gateway_hooks.admission.ask import MAX_LEASE_MS
from gateway_hooks.admission.decision import WINDOW_MS
from gateway_hooks.admission.lua import START, lean
from gateway_hooks.contract.settlement import SETTLE_FUNCTION

ENDED_SECONDS = 120
"""Longer than any command can be on its way to a Redis that answers."""

END = lean(f"""
-- KEYS: ended, holds; then per scope of what it keeps: window and amounts, leases and KV
-- ARGV: a map in msgpack, ``redis_ledger.EndWire``
-- 1 if this is the first end, else 0. ``cancel`` leaves no trace; else ``tokens`` and ``micro`` replace what
-- was reserved, which stays where they are not known. Whatever was not taken, or is over, is left as it is.
{SETTLE_FUNCTION}
local call = redis.call
local wire, last_key = cmsgpack.unpack(ARGV[1]), 0
local function key() last_key = last_key + 1 return KEYS[last_key] end
local ended, holds, id = key(), key(), wire.id
if not call('SET', ended, 1, 'NX', 'EX', {ENDED_SECONDS}) then return 0 end

for _, kept in ipairs(wire.kept) do
  if kept.window then
    local window, amounts = key(), key()
    local had = call('HGET', amounts, id)
    if wire.cancel then
      call('ZREM', window, id)
      if had then
        call('HDEL', amounts, id)
        call('HINCRBY', amounts, 'total', 0 - had)
      end
    elseif had and wire.tokens then
      call('HSET', amounts, id, wire.tokens)
      call('HINCRBY', amounts, 'total', wire.tokens - had)
    end
  end
  if kept.leases then
    local leases, kv = key(), key()
    call('ZREM', leases, id)
    local had = call('HGET', kv, id)
    if had then
      call('HDEL', kv, id)
      call('HINCRBY', kv, 'total', 0 - had)
    end
  end
end
if wire.micro then settle(holds, id, wire.micro) end
return 1
""")

RENEW = lean(f"""
-- KEYS: per scope that keeps them: leases and KV   ARGV: a map in msgpack, ``redis_ledger.RenewWire``
-- How many leases were renewed: one that has ended, by itself or by the request's end, is not taken again.
{START}
local renewed = 0
for k = 1, #KEYS, 2 do
  local ends = call('ZSCORE', KEYS[k], wire.id)
  if ends and tonumber(ends) > now then
    call('ZADD', KEYS[k], 'XX', now + wire.lease_ms, wire.id)
    call('PEXPIRE', KEYS[k], {MAX_LEASE_MS + 1000})
    call('PEXPIRE', KEYS[k + 1], {MAX_LEASE_MS + 1000})
    renewed = renewed + 1
  end
end
return renewed
""")

COUNT_LATE = lean(f"""
-- KEYS: per scope that keeps them: window and amounts   ARGV: a map in msgpack, ``redis_ledger.LateWire``
-- How many windows now hold what ran while Redis was away; what is there already is not counted twice.
{START}
local at, counted = math.min(wire.at_ms, now), 0
for _, tokens in ipairs(wire.keeps_tokens) do
  local window, amounts = key(), key()
  if at > now - {WINDOW_MS} and call('ZADD', window, 'NX', at, wire.id) == 1 then
    call('PEXPIRE', window, {WINDOW_MS + 1000})
    if tokens then
      call('HSET', amounts, wire.id, wire.tokens)
      call('HINCRBY', amounts, 'total', wire.tokens)
      call('PEXPIRE', amounts, {WINDOW_MS + 1000})
    end
    counted = counted + 1
  end
end
return counted
""")
