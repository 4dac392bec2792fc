"""The admission rule as Lua: Redis runs a script alone, so nothing can come between check and take.

Amounts are whole numbers below 2**53, which Redis writes exactly. Every key carries the tenant's id in
braces, so that a cluster keeps them together. Entries leave their sets when an admission next comes by;
a set that nobody comes by expires as a whole.
"""

from gateway_hooks.admission.ask import EXACT_MICRO, MAX_LEASE_MS
from gateway_hooks.admission.decision import BUSY_RETRY_MS, NEVER, RETRY_ENTRIES, UNKNOWN_RETRY_MS, WINDOW_MS
from gateway_hooks.admission.lua import START, lean

ADMIT = lean(f"""
-- KEYS: ended, holds, spend known; then per scope of what it keeps: window and amounts, leases and KV,
--       spend of the day, of the month (of an end user each with the count of end users)
-- ARGV: a map in msgpack, ``redis_ledger.AdmitWire``
-- Answer: refusal ('' if admitted), scope index from 0, period, limit, used, asked, retry after ms, output
--         per choice, micro-currency, then per scope the counters of ``contract.limits_view.Used``
{START}
local prompt, choices, most = wire.prompt_tokens, wire.choices, wire.max_output
local need = most
if wire.clamp and most > 1 then need = 1 end
local ended, holds, known = key(), key(), key()
local scopes, count = {{}}, #wire.kept

local function forget(set, hash, edge)
  repeat
    local gone = call('ZRANGEBYSCORE', set, '-inf', edge, 'LIMIT', '0', '1000')
    if #gone > 0 then
      local left = 0
      for _, amount in ipairs(call('HMGET', hash, unpack(gone))) do
        if amount then left = left + amount end
      end
      call('ZREM', set, unpack(gone))
      if left > 0 then call('HINCRBY', hash, 'total', -left) end
      call('HDEL', hash, unpack(gone))
    end
  until #gone < 1000
end

local function money(period, seconds, limit, slot, of_user, used)
  if not seconds then return nil end
  local one = {{period = period, key = key(), seconds = seconds, limit = limit, slot = slot}}
  local spent = call('GET', one.key)
  used[slot] = tonumber(spent or 0)
  if of_user then
    one.users = key()
    one.new = not spent
    one.full = one.new and tonumber(call('GET', one.users) or 0) >= wire.max_end_users
  end
  return one
end

local start_text, edge_text = string.format('%.0f', now - {WINDOW_MS}), string.format('%.0f', now)
for s = 1, count do
  local kept, used = wire.kept[s], {{0, 0, 0, 0, 0, 0}}
  local one = {{used = used, kept = kept}}
  if kept.window then
    one.window, one.amounts = key(), key()
    forget(one.window, one.amounts, start_text)
    used[1] = call('ZCARD', one.window)
    if kept.tokens then used[2] = tonumber(call('HGET', one.amounts, 'total') or 0) end
  end
  if kept.leases then
    one.leases, one.kv = key(), key()
    forget(one.leases, one.kv, edge_text)
    used[3] = call('ZCARD', one.leases)
    if kept.kv then used[4] = tonumber(call('HGET', one.kv, 'total') or 0) end
  end
  local limits = wire.limits[s]
  one.money = {{money('day', kept.day, limits.daily_spend_micro, 5, kept.user, used)}}
  one.money[#one.money + 1] = money('month', kept.month, limits.monthly_spend_micro, 6, kept.user, used)
  scopes[s] = one
end

local function answer(...)
  local flat = {{...}}
  local at = #flat
  for s = 1, count do
    local used = scopes[s].used
    for i = 1, 6 do flat[at + i] = used[i] end
    at = at + 6
  end
  return flat
end

local function refuse(code, s, period, limit, used, asked, retry)
  return answer(code, s - 1, period, limit, used, asked, retry, 0, 0)
end

local function divided(amount, by)
  if amount < 0 then return -1 end
  return (amount - math.fmod(amount, by)) / by
end

local function price(output) return wire.input_micro * prompt + wire.output_micro * choices * output end

local function micro_of(output)
  local exact = price(output)
  local part = math.fmod(exact, 1000000)
  if part > 0 then return (exact - part) / 1000000 + 1 end
  return exact / 1000000
end

local function affordable(room)
  local left = math.min(room, {EXACT_MICRO}) * 1000000 - price(0)
  local each = wire.output_micro * choices
  if left < 0 then return -1 end
  if each == 0 then return most end
  return divided(left, each)
end

local function free_requests(window, used, limit)
  if limit <= 0 then return {NEVER} end
  local entry = call('ZRANGE', window, used - limit, used - limit, 'WITHSCORES')
  return entry[2] + {WINDOW_MS} - now
end

local function free_tokens(window, amounts, needed)
  local freed, last = 0, now - {WINDOW_MS}
  for from = 0, {RETRY_ENTRIES - 1}, 250 do
    local names = call('ZRANGE', window, from, from + 249)
    if #names == 0 then break end
    for i, amount in ipairs(call('HMGET', amounts, unpack(names))) do
      freed = freed + (amount or 0)
      if freed >= needed then return call('ZSCORE', window, names[i]) + {WINDOW_MS} - now end
    end
    last = tonumber(call('ZSCORE', window, names[#names]))
  end
  return last + {WINDOW_MS} - now
end

if call('EXISTS', ended) == 1 then return refuse('limits_unavailable', 1, '', 0, 0, 0, {NEVER}) end

local is_known
local granted = most
for s = 1, count do
  local one = scopes[s]
  local limits, used = wire.limits[s], one.used
  local limit = limits.context_tokens
  if limit then
    local room = limit - prompt
    if room < need then return refuse('context_cap', s, '', limit, 0, prompt + need, {NEVER}) end
    if room < granted then granted = room end
  end
  limit = limits.requests_per_minute
  if limit and used[1] >= limit then
    return refuse('rate_limit_requests', s, '', limit, used[1], 1, free_requests(one.window, used[1], limit))
  end
  limit = limits.tokens_per_minute
  if limit then
    local room = divided(limit - used[2] - prompt, choices)
    if room < need then
      local asked = prompt + choices * need
      local retry = {NEVER}
      if asked <= limit then retry = free_tokens(one.window, one.amounts, used[2] + asked - limit) end
      return refuse('rate_limit_tokens', s, '', limit, used[2], asked, retry)
    end
    if room < granted then granted = room end
  end
  limit = limits.concurrency
  if limit and used[3] >= limit then
    return refuse('concurrency', s, '', limit, used[3], 1, {BUSY_RETRY_MS})
  end
  limit = limits.kv_bytes
  if limit then
    local each = wire.kv_bytes_per_token
    if not each then return refuse('kv_budget', s, '', limit, used[4], 0, {NEVER}) end
    local room = most
    if each > 0 then room = divided(divided(limit - used[4], each) - prompt, choices) end
    if room < need then
      local asked = each * (prompt + choices * need)
      local retry = {NEVER}
      if asked <= limit then retry = {BUSY_RETRY_MS} end
      return refuse('kv_budget', s, '', limit, used[4], asked, retry)
    end
    if room < granted then granted = room end
  end
  for _, of in ipairs(one.money) do
    if of.limit then
      local spent = used[of.slot]
      if is_known == nil then is_known = call('EXISTS', known) == 1 end
      if not is_known or of.full then
        local retry = is_known and {NEVER} or {UNKNOWN_RETRY_MS}
        return refuse('limits_unavailable', s, of.period, of.limit, spent, micro_of(need), retry)
      end
      local room = affordable(of.limit - spent)
      if room < need then
        return refuse('budget_exhausted', s, of.period, of.limit, spent, micro_of(need), {NEVER})
      end
      if room < granted then granted = room end
    end
  end
end

-- Redis would write each number that it is given with 17 digits, which costs more than the command.
local function text(number) return string.format('%.0f', number) end
local id, tokens, micro = wire.id, prompt + choices * granted, micro_of(granted)
local now_text, lease_end, tokens_text = text(now), text(now + wire.lease_ms), text(tokens)
local bytes = (wire.kv_bytes_per_token or 0) * tokens
local bytes_text = text(bytes)
for s = 1, count do
  local one, kept = scopes[s], wire.kept[s]
  local used = one.used
  if kept.window then
    used[1] = used[1] + 1
    call('ZADD', one.window, now_text, id)
    call('PEXPIRE', one.window, '{WINDOW_MS + 1000}')
    if kept.tokens then
      used[2] = used[2] + tokens
      call('HSET', one.amounts, id, tokens_text, 'total', text(used[2]))
      call('PEXPIRE', one.amounts, '{WINDOW_MS + 1000}')
    end
  end
  if kept.leases then
    used[3] = used[3] + 1
    call('ZADD', one.leases, lease_end, id)
    call('PEXPIRE', one.leases, '{MAX_LEASE_MS + 1000}')
    if kept.kv and wire.kv_bytes_per_token then
      used[4] = used[4] + bytes
      call('HSET', one.kv, id, bytes_text, 'total', text(used[4]))
      call('PEXPIRE', one.kv, '{MAX_LEASE_MS + 1000}')
    end
  end
  for _, of in ipairs(one.money) do
    used[of.slot] = used[of.slot] + micro
    call('SET', of.key, text(used[of.slot]), 'EX', of.seconds)
    if of.new then
      call('INCR', of.users)
      call('EXPIRE', of.users, of.seconds)
    end
  end
end
call('HSET', holds, id, wire.hold .. text(micro) .. '}}')
return answer('', 0, '', 0, 0, 0, 0, granted, micro)
""")
