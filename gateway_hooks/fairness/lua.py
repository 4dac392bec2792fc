"""What every script of the queue starts with, in Lua: reading and moving the state, and giving seats.

Names are made from ``KEYS[1]``, the pool's ``state``, and lie in one cluster slot. Numbers are whole and
below 2**53.
"""

from gateway_hooks.contract.pool_keys import COUNTER_SCALE
from gateway_hooks.fairness.ask import PASS_WINDOW

_STATE = """
-- KEYS[1]: state of the pool   ARGV: sequences, tokens, time ms or '', then the script's own
local P = string.sub(KEYS[1], 1, -6)
local SEATS, ASKS, INFOS, STATE = P .. 'seats', P .. 'asks', P .. 'infos', KEYS[1]
local WAITING, GATEWAYS = P .. 'waiting', P .. 'gateways'
local IN_USE_MS, IDLE_MS = 86400000, 600000
local max_sequences, max_tokens = tonumber(ARGV[1]), tonumber(ARGV[2])
local granted = {}

local function now_ms()
  local now = tonumber(ARGV[3])
  if now then return now end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- Lua writes large numbers with an exponent, which Redis does not take for an integer.
local function whole(number) return string.format('%d', number) end
local function number_of(field) return tonumber(redis.call('HGET', STATE, field) or '0') end
local function keep(...)
  for _, key in ipairs({...}) do redis.call('PEXPIRE', key, IN_USE_MS) end
end
local function cost(tokens, weight)
  return math.floor((math.max(tokens, 1) * SCALE + weight - 1) / weight)
end
local function tenant_key(tenant) return P .. 'tenant:' .. tenant end
local function queue_key(tenant) return P .. 'queue:' .. tenant end
local function entry_of(band, counter, arrival, tenant)
  return string.format('%06d:%016d:%016d:', band, counter, arrival) .. tenant
end
local function read_entry(entry)
  return tonumber(string.sub(entry, 1, 6)), tonumber(string.sub(entry, 8, 23)), string.sub(entry, 42)
end
local function first_of(band)
  local low, high = string.format('[%06d:', band), string.format('(%06d;', band)
  return redis.call('ZRANGEBYLEX', WAITING, low, high, 'LIMIT', 0, 1)[1]
end
local function floor_of(band)
  local first = first_of(band)
  if first then return select(2, read_entry(first)) end
  return number_of('last:' .. band)
end

-- The counter of a tenant that did not wait, lifted.
local function joined(tenant, band)
  local known = redis.call('HMGET', tenant_key(tenant), 'counter', 'band')
  local floor = floor_of(band)
  if known[1] and tonumber(known[2]) == band then return math.max(tonumber(known[1]), floor) end
  return floor
end
local function insert(tenant, band, counter)
  local head = redis.call('ZRANGE', queue_key(tenant), 0, 0, 'WITHSCORES')
  local entry = entry_of(band, counter, tonumber(head[2]), tenant)
  redis.call('ZADD', WAITING, 0, entry)
  -- Every time: who moves within an otherwise empty set makes a new key.
  keep(WAITING)
  redis.call('HSET', tenant_key(tenant), 'entry', entry, 'counter', whole(counter), 'band', band)
end
-- After a request left its tenant's queue: the tenant's new place, or none. `counter` is what the tenant
-- has from now on, `before` what it had.
local function replace(tenant, entry, band, counter, before)
  redis.call('ZREM', WAITING, entry)
  if redis.call('EXISTS', queue_key(tenant)) == 1 then return insert(tenant, band, counter) end
  redis.call('HDEL', tenant_key(tenant), 'entry')
  redis.call('HSET', tenant_key(tenant), 'counter', whole(counter))
  if not first_of(band) then redis.call('HSET', STATE, 'last:' .. band, whole(before)) end
end
local function rest(tenant)
  local known = redis.call('HMGET', tenant_key(tenant), 'seats', 'entry')
  if tonumber(known[1] or '0') <= 0 and not known[2] then
    redis.call('PEXPIRE', tenant_key(tenant), IDLE_MS)
  end
end
"""

_DISPATCH = """
local function fits(tokens, used, in_flight) return used == 0 or in_flight + tokens <= max_tokens end

-- Who is next: entry, request id, its record; and how many tokens have passed the first one then.
local function pick()
  local used = redis.call('HLEN', SEATS)
  if used >= max_sequences then return nil end
  local in_flight, passed, lead = number_of('tokens'), number_of('passed'), {}
  local function head(entry)
    local band, counter, tenant = read_entry(entry)
    local id = redis.call('ZRANGE', queue_key(tenant), 0, 0)[1]
    return id, cjson.decode(redis.call('HGET', ASKS, id)), band, counter
  end
  local first = redis.call('ZRANGE', WAITING, 0, 0)[1]
  if not first then return nil end
  local id, ask, band, counter = head(first)
  if fits(ask.n, used, in_flight) then return first, id, ask, 0 end
  lead[band] = counter + cost(ask.n, ask.w)
  for _, entry in ipairs(redis.call('ZRANGE', WAITING, 1, PASS_WINDOW - 1)) do
    id, ask, band, counter = head(entry)
    local may_pass = passed + ask.n <= max_tokens and counter <= (lead[band] or counter)
    if may_pass and fits(ask.n, used, in_flight) then return entry, id, ask, passed + ask.n end
    lead[band] = lead[band] or counter + cost(ask.n, ask.w)
  end
  return nil
end
local function occupy(id, raw, ask)
  redis.call('HSET', SEATS, id, raw)
  redis.call('HINCRBY', STATE, 'tokens', whole(ask.n))
  redis.call('HINCRBY', tenant_key(ask.t), 'seats', 1)
  keep(SEATS, STATE, tenant_key(ask.t))
  granted[#granted + 1] = id
end
local function dispatch(entering)
  local entry, id, ask, passed = pick()
  while entry do
    local band, counter, tenant = read_entry(entry)
    local raw = redis.call('HGET', ASKS, id)
    redis.call('HDEL', ASKS, id)
    redis.call('ZREM', queue_key(tenant), id)
    redis.call('HSET', STATE, 'passed', whole(passed))
    replace(tenant, entry, band, counter + cost(ask.n, ask.w), counter)
    occupy(id, raw, ask)
    if id ~= entering then redis.call('PUBLISH', 'tn:gateway:' .. ask.g .. ':grants', id) end
    entry, id, ask, passed = pick()
  end
end
local function forget(id, ask)
  redis.call('HDEL', INFOS, id)
  redis.call('SREM', P .. 'gateway:' .. ask.g, id)
end
-- A seat back; without `actual` the projected tokens stand.
local function release(id, actual)
  local raw = redis.call('HGET', SEATS, id)
  if not raw then return false end
  local ask = cjson.decode(raw)
  redis.call('HDEL', SEATS, id)
  forget(id, ask)
  redis.call('HINCRBY', STATE, 'tokens', whole(-ask.n))
  local key = tenant_key(ask.t)
  local known = redis.call('HMGET', key, 'counter', 'band', 'entry')
  if not known[1] then return true end
  redis.call('HINCRBY', key, 'seats', -1)
  if actual and tonumber(known[2]) == ask.b then
    local counter = math.max(0, tonumber(known[1]) + cost(actual, ask.w) - cost(ask.n, ask.w))
    redis.call('HSET', key, 'counter', whole(counter))
    if known[3] then
      redis.call('ZREM', WAITING, known[3])
      insert(ask.t, ask.b, counter)
    end
  end
  rest(ask.t)
  return true
end
local function withdraw(id)
  local raw = redis.call('HGET', ASKS, id)
  if not raw then return false end
  local ask = cjson.decode(raw)
  redis.call('HDEL', ASKS, id)
  forget(id, ask)
  redis.call('ZREM', queue_key(ask.t), id)
  local entry = redis.call('HGET', tenant_key(ask.t), 'entry')
  local band, counter = read_entry(entry)
  replace(ask.t, entry, band, counter, counter)
  rest(ask.t)
  return true
end
local function place_of(id)
  if redis.call('HEXISTS', SEATS, id) == 1 then return 'granted' end
  return redis.call('HEXISTS', ASKS, id) == 1 and 'waiting' or 'gone'
end
"""


def whole_script(own: str) -> str:
    """One script, without what only a reader needs: an ``EVAL`` sends all of it."""
    numbers = f"local SCALE, PASS_WINDOW = {COUNTER_SCALE}, {PASS_WINDOW}\n"
    lines = (line.strip() for line in (numbers + _STATE + _DISPATCH + own).splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("--"))
