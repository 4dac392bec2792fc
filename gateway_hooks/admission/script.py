"""The admission rule as Lua: Redis runs a script alone, so nothing can come between check and take.

Amounts are plain integers below 2**53. Every key carries the tenant's id in braces, so that a cluster
keeps them together.
"""

ADMIT = """
-- KEYS: per scope: requests window, tokens window, tokens amounts, leases, spend;
--       then holds, spend known
-- ARGV: request id, tokens, micro, lease ms, hold JSON, seconds to keep spend, time ms or ''
--       then per scope: requests, tokens, concurrency, money (-1: not limited)
-- Answer: refusal ('' if admitted), scope index from 0, retry after ms, then per scope
--         requests, tokens, concurrent, spend
local id = ARGV[1]
local tokens = tonumber(ARGV[2])
local micro = tonumber(ARGV[3])
local now = tonumber(ARGV[7])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local window = 60000
local scopes = (#KEYS - 2) / 5
local spend_known = redis.call('EXISTS', KEYS[#KEYS]) == 1
local used = {}
local refusal, refused_by, retry = '', 0, 0

local function score(value) return string.format('%d', value) end

local function free_requests(key, count, limit)
  if limit <= 0 then return -1 end
  local entry = redis.call('ZRANGE', key, count - limit, count - limit, 'WITHSCORES')
  return tonumber(entry[2]) + window - now
end

local function free_tokens(key, amounts, needed)
  local entries = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  local freed = 0
  for i = 1, #entries, 2 do
    freed = freed + tonumber(redis.call('HGET', amounts, entries[i]) or '0')
    if freed >= needed then return tonumber(entries[i + 1]) + window - now end
  end
  return -1
end

for s = 0, scopes - 1 do
  local k = s * 5
  local start = score(now - window)
  redis.call('ZREMRANGEBYSCORE', KEYS[k + 1], '-inf', start)
  local gone = redis.call('ZRANGEBYSCORE', KEYS[k + 2], '-inf', start)
  if #gone > 0 then
    local left = 0
    for _, name in ipairs(gone) do
      left = left + tonumber(redis.call('HGET', KEYS[k + 3], name) or '0')
      redis.call('HDEL', KEYS[k + 3], name)
    end
    redis.call('ZREMRANGEBYSCORE', KEYS[k + 2], '-inf', start)
    redis.call('HINCRBY', KEYS[k + 3], 'total', score(-left))
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[k + 4], '-inf', score(now))
  used[s] = {
    redis.call('ZCARD', KEYS[k + 1]),
    tonumber(redis.call('HGET', KEYS[k + 3], 'total') or '0'),
    redis.call('ZCARD', KEYS[k + 4]),
    tonumber(redis.call('GET', KEYS[k + 5]) or '0'),
  }
end

for s = 0, scopes - 1 do
  local k, a = s * 5, 7 + s * 4
  local max_requests, max_tokens = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local max_concurrent, max_micro = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  local now_used = used[s]
  if max_requests >= 0 and now_used[1] >= max_requests then
    refusal, refused_by = 'rate_limit_requests', s
    retry = free_requests(KEYS[k + 1], now_used[1], max_requests)
  elseif max_tokens >= 0 and now_used[2] + tokens > max_tokens then
    refusal, refused_by = 'rate_limit_tokens', s
    retry = free_tokens(KEYS[k + 2], KEYS[k + 3], now_used[2] + tokens - max_tokens)
  elseif max_concurrent >= 0 and now_used[3] >= max_concurrent then
    refusal, refused_by, retry = 'concurrency', s, 1000
  elseif max_micro >= 0 and not spend_known then
    refusal, refused_by, retry = 'limits_unavailable', s, 2000
  elseif max_micro >= 0 and now_used[4] + micro > max_micro then
    refusal, refused_by, retry = 'budget_exhausted', s, -1
  end
  if refusal ~= '' then break end
end

if refusal == '' then
  for s = 0, scopes - 1 do
    local k = s * 5
    local lease_end = now + tonumber(ARGV[4])
    redis.call('ZADD', KEYS[k + 1], score(now), id)
    redis.call('PEXPIRE', KEYS[k + 1], window)
    redis.call('ZADD', KEYS[k + 2], score(now), id)
    redis.call('PEXPIRE', KEYS[k + 2], window)
    redis.call('HSET', KEYS[k + 3], id, ARGV[2])
    redis.call('HINCRBY', KEYS[k + 3], 'total', ARGV[2])
    redis.call('PEXPIRE', KEYS[k + 3], window)
    redis.call('ZADD', KEYS[k + 4], score(lease_end), id)
    local kept = tonumber(ARGV[4]) + window
    if redis.call('PTTL', KEYS[k + 4]) < kept then redis.call('PEXPIRE', KEYS[k + 4], score(kept)) end
    redis.call('INCRBY', KEYS[k + 5], ARGV[3])
    redis.call('EXPIRE', KEYS[k + 5], ARGV[6])
    used[s] = {used[s][1] + 1, used[s][2] + tokens, used[s][3] + 1, used[s][4] + micro}
  end
  redis.call('HSET', KEYS[#KEYS - 1], id, ARGV[5])
end

local answer = {refusal, refused_by, retry}
for s = 0, scopes - 1 do
  for i = 1, 4 do answer[#answer + 1] = used[s][i] end
end
return answer
"""

RELEASE = """
-- KEYS: per scope: leases, tokens amounts   ARGV: request id, tokens used ('' to leave the reservation)
local used = tonumber(ARGV[2])
for k = 1, #KEYS, 2 do
  redis.call('ZREM', KEYS[k], ARGV[1])
  if used then
    local reserved = redis.call('HGET', KEYS[k + 1], ARGV[1])
    if reserved then
      redis.call('HSET', KEYS[k + 1], ARGV[1], ARGV[2])
      redis.call('HINCRBY', KEYS[k + 1], 'total', string.format('%d', used - tonumber(reserved)))
    end
  end
end
return 1
"""
