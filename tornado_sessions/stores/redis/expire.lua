-- Removes what ended by time, then what ended with everybody's, and forgets old tombstones; at most so many of each.
-- KEYS: the e of each bucket, then what else is touched. ARGV: how many buckets, now, seconds that tombstones are kept, how many, the channel. Answers: how many sessions.
local now, kept_for, most, channel = (struct.unpack('<d', ARGV[2])), (struct.unpack('<d', ARGV[3])), tonumber(ARGV[4]), ARGV[5]
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
      -- Redis itself removed it, an hour after its end; its entries in the lists are taken out as they are met.
      redis.call('ZREM', base .. 'e', handle)
    end
  end
end

-- Who was not seen since everybody's end was made before it. Whoever was seen later, by a clock ahead of ours, ends by time.
local function sweep(base)
  local stored = redis.call('GET', base .. 'n')
  if not stored then return end
  local limit, ending = (struct.unpack('<d', stored)), string.sub(stored, 9)
  local old = redis.call('ZREVRANGEBYLEX', base .. 'x', '(m', '[l' .. order(limit), 'LIMIT', 0, most - removed)
  for _, entry in ipairs(old) do
    local handle = string.sub(entry, 19)
    local value = redis.call('GET', base .. 's:' .. handle)
    local r = value and read_record(value)
    if not r then
      redis.call('ZREM', base .. 'x', entry)
    elseif r.created < limit then
      bury(base, handle, r, ending, now, channel, nil)
      removed = removed + 1
    end
  end
end

local function forget(base)
  for _, entry in ipairs(redis.call('ZREVRANGEBYLEX', base .. 'x', '(e', '[d', 'LIMIT', 0, most)) do
    local key = base .. 't:' .. string.sub(entry, 19)
    local _, keep_until = struct.unpack('<dd', redis.call('GET', key) or string.rep('\0', 16))
    if keep_until <= now then
      redis.call('DEL', key)
      redis.call('ZREM', base .. 'x', entry)
    end
  end
end

for place = 1, tonumber(ARGV[1]) do
  local base = string.match(KEYS[place], '^(.-{%x+}:)')
  forget(base)
  if removed < most then expire(base) end
  if removed < most then sweep(base) end
end
return removed
