-- Removes what ended by time, then what ended with everybody's, and forgets old tombstones; at most so many of each.
-- KEYS: the e of each bucket. ARGV: now, seconds that tombstones are kept, how many, the channel. Answers: how many sessions.
local now, kept_for, most, channel = (struct.unpack('<d', ARGV[1])), (struct.unpack('<d', ARGV[2])), tonumber(ARGV[3]), ARGV[4]
local removed = 0

local function ending_by_time(r)
  local cause = r.absolute <= now and 'absolute' or 'idle'
  return struct.pack('<ddBHc0Hc0Hc0', r.expires, now + kept_for, 0, #cause, cause, 0, '', 0, '')
end

local function expire(base)
  for _, handle in ipairs(redis.call('ZRANGEBYSCORE', base .. 'e', '-inf', number(now), 'LIMIT', 0, most - removed)) do
    local value = redis.call('GET', base .. 's:' .. handle)
    if value then
      local r = read_record(value)
      bury(base, handle, r, ending_by_time(r), now, channel, 'expired')
      removed = removed + 1
    else
      -- Redis itself removed it; whose it was is known no more.
      redis.call('ZREM', base .. 'e', handle)
      redis.call('ZREM', base .. 'l', handle)
    end
  end
end

-- Who was not seen since everybody's end was made before it. Whoever was seen later, by a clock ahead of ours, ends by time.
local function sweep(base)
  local stored = redis.call('GET', base .. 'n')
  if not stored then return end
  local limit, ending = (struct.unpack('<d', stored)), string.sub(stored, 9)
  local old = redis.call('ZREVRANGEBYSCORE', base .. 'l', '+inf', number(-limit), 'LIMIT', 0, most - removed)
  for _, handle in ipairs(old) do
    local value = redis.call('GET', base .. 's:' .. handle)
    local r = value and read_record(value)
    if not r then
      redis.call('ZREM', base .. 'l', handle)
      redis.call('ZREM', base .. 'e', handle)
    elseif r.created < limit then
      bury(base, handle, r, ending, now, channel, nil)
      removed = removed + 1
    end
  end
end

local function forget(base)
  for _, handle in ipairs(redis.call('ZREVRANGE', base .. 'd', 0, most - 1)) do
    local tombstone = redis.call('GET', base .. 't:' .. handle)
    local _, keep_until = struct.unpack('<dd', tombstone or string.rep('\0', 16))
    if keep_until <= now then
      redis.call('DEL', base .. 't:' .. handle)
      redis.call('ZREM', base .. 'd', handle)
    end
  end
end

for _, key in ipairs(KEYS) do
  local base = string.match(key, '^(.-{%x+}:)')
  forget(base)
  if removed < most then expire(base) end
  if removed < most then sweep(base) end
end
return removed
