"""The queue's rule as Lua: Redis runs a script alone, so no seat is given twice or to nobody.

One script's cost grows with the logarithm of the tenants that wait, not with the tenants there are.
"""

from gateway_hooks.fairness.lua import whole_script

_ENTER = """
-- ARGV: request id, its record, gateway, tenant, band, depth, info, heartbeat ms
-- Answer: status, position, granted request ids
local id, raw, gateway, tenant, band = ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local depth = tonumber(ARGV[9])
local owned, queue, key = P .. 'gateway:' .. gateway, queue_key(tenant), tenant_key(tenant)
redis.call('ZADD', GATEWAYS, whole(now_ms() + tonumber(ARGV[11])), gateway)
keep(GATEWAYS)
local place = place_of(id)
if place ~= 'gone' then return {place, redis.call('ZCARD', queue), {}} end
local before = redis.call('ZCARD', queue)
if before >= math.max(depth, 1) then return {'queue_full', 0, {}} end

local ask = cjson.decode(raw)
redis.call('HSET', INFOS, id, ARGV[10])
redis.call('SADD', owned, id)
keep(INFOS, owned)
local arrival = redis.call('HINCRBY', STATE, 'arrivals', 1)
-- The short way when nobody waits: what joining and being dispatched at once come to.
if redis.call('EXISTS', WAITING) == 0 then
  local used = redis.call('HLEN', SEATS)
  if used < max_sequences and fits(ask.n, used, number_of('tokens')) then
    local counter = joined(tenant, band)
    redis.call('HSET', STATE, 'last:' .. band, whole(counter), 'passed', 0)
    redis.call('HSET', key, 'counter', whole(counter + cost(ask.n, ask.w)), 'band', band)
    occupy(id, raw, ask)
    return {'granted', 0, granted}
  end
end

redis.call('HSET', ASKS, id, raw)
redis.call('ZADD', queue, arrival, id)
if before == 0 then insert(tenant, band, joined(tenant, band)) end
keep(ASKS, queue, STATE, key)
dispatch(id)
place = place_of(id)
if place == 'waiting' and depth == 0 then
  withdraw(id)
  return {'queue_full', 0, granted}
end
return {place, place == 'waiting' and redis.call('ZCARD', queue) or 0, granted}
"""

_POLL = """
-- ARGV: request ids   Answer: their places ('granted', 'waiting', 'gone'), granted request ids
dispatch()
local places = {}
for i = 4, #ARGV do places[#places + 1] = place_of(ARGV[i]) end
return {places, granted}
"""

_FINISH = """
-- ARGV: request id, actual tokens or ''   Answer: 'returned' or 'gone', granted request ids
local released = release(ARGV[4], tonumber(ARGV[5]))
if released then dispatch() end
return {released and 'returned' or 'gone', granted}
"""

_LEAVE = """
-- ARGV: request id   Answer: 'left' (its place), 'returned' (its seat) or 'gone', granted request ids
local what = withdraw(ARGV[4]) and 'left' or release(ARGV[4], 0) and 'returned' or 'gone'
if what ~= 'gone' then dispatch() end
return {what, granted}
"""

_BEAT = """
-- ARGV: gateway, heartbeat ms   Answer: the request ids that it has here
redis.call('ZADD', GATEWAYS, whole(now_ms() + tonumber(ARGV[5])), ARGV[4])
keep(GATEWAYS, SEATS, ASKS, INFOS, STATE, WAITING, P .. 'gateway:' .. ARGV[4])
return redis.call('SMEMBERS', P .. 'gateway:' .. ARGV[4])
"""

_REAP = """
-- Answer: what was lost, as request id, 1 if it was seated else 0, info; then granted request ids
local dead = redis.call('ZRANGEBYSCORE', GATEWAYS, '-inf', whole(now_ms()))
local lost = {}
for _, gateway in ipairs(dead) do
  redis.call('ZREM', GATEWAYS, gateway)
  local ids = redis.call('SMEMBERS', P .. 'gateway:' .. gateway)
  table.sort(ids)
  for _, id in ipairs(ids) do
    local info = redis.call('HGET', INFOS, id) or ''
    local seated = release(id, nil)
    if not seated then withdraw(id) end
    lost[#lost + 1] = {id, seated and 1 or 0, info}
  end
  redis.call('DEL', P .. 'gateway:' .. gateway)
end
if #dead > 0 then dispatch() end
return {lost, granted}
"""

ENTER = whole_script(_ENTER)
POLL = whole_script(_POLL)
FINISH = whole_script(_FINISH)
LEAVE = whole_script(_LEAVE)
BEAT = whole_script(_BEAT)
REAP = whole_script(_REAP)
