-- What every script begins with: names of keys, the record's layout, and moving a session between the indexes.
--
-- All keys of one bucket share a hash tag, so one script may touch a session and its indexes on a cluster as well.
-- A session's key is PREFIX{BB}:s:HANDLE; beside it stand, with the same beginning,
--   t:HANDLE tombstone · l list by -last_seen · e by expiry · d ended ones by -ended_at · u:USER, i:IP by -last_seen
--   n everybody's end: <d not_before> and the ending.

-- Seconds that Redis keeps a session longer than it lives, so that its end can be told; expiry itself is checked at every load.
local SLACK = 3600
local PERSISTENT, USER, SIGNED, PREVIOUS, CONFIRMED = 1, 2, 4, 8, 16
local RECORD = '<BBdddddddddc32c32'

local function split(key)
  return string.match(key, '^(.-{%x+}:)s:(.*)$')
end

local function has(flags, bit)
  return math.floor(flags / bit) % 2 == 1
end

local function with(flags, bit, on)
  if has(flags, bit) == on then return flags end
  return on and flags + bit or flags - bit
end

local function read_record(value)
  local r, at = {}, nil
  r.version, r.flags, r.created, r.seen, r.expires, r.absolute, r.idle, r.rotated, r.confirmed, r.signed, r.grace,
    r.hash, r.previous, at = struct.unpack(RECORD, value)
  r.user, r.ip, r.agent, r.data_at = struct.unpack('<Hc0Hc0Hc0', value, at)
  r.value = value
  return r
end

local function facts_of(r)
  return string.sub(r.value, 1, r.data_at - 1)
end

local function write_record(r, data)
  return struct.pack(RECORD, r.version, r.flags, r.created, r.seen, r.expires, r.absolute, r.idle, r.rotated, r.confirmed,
    r.signed, r.grace, r.hash, r.previous) .. struct.pack('<Hc0Hc0Hc0', #r.user, r.user, #r.ip, r.ip, #r.agent, r.agent) .. data
end

local function read_data(r)
  local data, at = {}, r.data_at
  while at <= #r.value do
    local key, value
    key, value, at = struct.unpack('<I4c0I4c0', r.value, at)
    data[key] = value
  end
  return data
end

local function write_data(data)
  local parts = {}
  for key, value in pairs(data) do
    parts[#parts + 1] = struct.pack('<I4c0I4c0', #key, key, #value, value)
  end
  return table.concat(parts)
end

local function not_before(base)
  local stored = redis.call('GET', base .. 'n')
  if not stored then return 0 end
  return (struct.unpack('<d', stored))
end

local function milliseconds(seconds)
  return string.format('%.0f', math.max(1, math.ceil(seconds * 1000)))
end

local function number(value)
  return string.format('%.17g', value)
end

-- An index of one user or address outlives the sessions in it by no more than they would.
local function keep(key, ttl)
  local left = redis.call('PTTL', key)
  if left < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
end

local function enlist(base, handle, r, ttl)
  local score = number(-r.seen)
  redis.call('ZADD', base .. 'l', score, handle)
  redis.call('ZADD', base .. 'e', number(r.expires), handle)
  redis.call('ZADD', base .. 'i:' .. r.ip, score, handle)
  keep(base .. 'i:' .. r.ip, ttl)
  if has(r.flags, USER) then
    redis.call('ZADD', base .. 'u:' .. r.user, score, handle)
    keep(base .. 'u:' .. r.user, ttl)
  end
end

local function unlist(base, handle, r)
  redis.call('ZREM', base .. 'l', handle)
  redis.call('ZREM', base .. 'e', handle)
  redis.call('ZREM', base .. 'i:' .. r.ip, handle)
  if has(r.flags, USER) then redis.call('ZREM', base .. 'u:' .. r.user, handle) end
end

-- ENDING: <d at> <d keep_until> <B by?> <H cause> <H by> <H reason>
local function bury(base, handle, r, ending, now, channel, kind)
  local at, keep_until, has_by, cause, by = struct.unpack('<ddBHc0Hc0', ending)
  redis.call('DEL', base .. 's:' .. handle)
  unlist(base, handle, r)
  if keep_until > now then
    redis.call('SET', base .. 't:' .. handle, ending .. facts_of(r), 'PX', milliseconds(keep_until - now))
    redis.call('ZADD', base .. 'd', number(-at), handle)
  end
  if kind then
    local user = has(r.flags, USER) and r.user or false
    redis.call('PUBLISH', channel, cjson.encode({kind, handle, number(at), user, cause, has_by == 1 and by or false}))
  end
end
