-- What every script begins with: names of keys, the record's layout, and moving a session between the indexes.
--
-- All keys of one bucket share a hash tag, so one script may touch a session and its indexes on a cluster as well. A session's key
-- is PREFIX{BB}:s:HANDLE, its tombstone's PREFIX{BB}:t:HANDLE. Beside them each bucket has three keys, always the same, so that all
-- can be declared and a slot can move to another node under load:
--   n  everybody's end: <d not_before>, and the ending behind it
--   e  sessions by when they end
--   x  every list in one, in the order of bytes: an entry is its list, then ORDER HANDLE, the latest first. The lists are
--      l all sessions · uUSER\0 a user's · v visitors' · s users' by log-in · iADDRESS\0 an address's · d the ended ones

-- Seconds that Redis keeps a session longer than it lives, so that its end can be told; expiry itself is checked at every load.
local SLACK = 3600
local PERSISTENT, USER, SIGNED, PREVIOUS, CONFIRMED = 1, 2, 4, 8, 16
local RECORD = '<BBdddddddddc32'

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
    r.hash, at = struct.unpack(RECORD, value)
  r.previous = ''
  if has(r.flags, PREVIOUS) then r.previous, at = struct.unpack('c32', value, at) end
  r.user, r.ip, r.agent, r.data_at = struct.unpack('<Hc0Hc0Hc0', value, at)
  r.value = value
  return r
end

local function facts_of(r)
  return string.sub(r.value, 1, r.data_at - 1)
end

local function write_record(r, data)
  return struct.pack(RECORD, r.version, r.flags, r.created, r.seen, r.expires, r.absolute, r.idle, r.rotated, r.confirmed,
    r.signed, r.grace, r.hash) .. r.previous .. struct.pack('<Hc0Hc0Hc0', #r.user, r.user, #r.ip, r.ip, #r.agent, r.agent) .. data
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
  return stored and (struct.unpack('<d', stored)) or 0
end

local function milliseconds(seconds)
  return string.format('%.0f', math.max(1, math.ceil(seconds * 1000)))
end

local function number(value)
  return string.format('%.17g', value)
end

-- Microseconds counted down, so that the latest comes first.
local function order(at)
  return string.format('%017.0f', 9e15 - math.floor(at * 1e6))
end

-- No name holds a NUL, which ends it.
local function escaped(name)
  return (string.gsub(name, '[%z\1]', {['\0'] = '\1\1', ['\1'] = '\1\2'}))
end

local function entries(handle, r)
  local tail = order(r.seen) .. handle
  local found = {'l' .. tail, 'i' .. escaped(r.ip) .. '\0' .. tail}
  if has(r.flags, USER) then
    found[3] = 'u' .. escaped(r.user) .. '\0' .. tail
    found[4] = 's' .. order(r.signed) .. handle
  else
    found[3] = 'v' .. tail
  end
  return found
end

local function enlist(base, handle, r)
  redis.call('ZADD', base .. 'e', number(r.expires), handle)
  for _, entry in ipairs(entries(handle, r)) do redis.call('ZADD', base .. 'x', 0, entry) end
end

local function unlist(base, handle, r)
  redis.call('ZREM', base .. 'e', handle)
  redis.call('ZREM', base .. 'x', unpack(entries(handle, r)))
end

-- ENDING: <d at> <d keep_until> <B by?> <H cause> <H by> <H reason>
local function bury(base, handle, r, ending, now, channel, kind)
  local at, keep_until, has_by, cause, by = struct.unpack('<ddBHc0Hc0', ending)
  redis.call('DEL', base .. 's:' .. handle)
  unlist(base, handle, r)
  if keep_until > now then
    redis.call('SET', base .. 't:' .. handle, ending .. facts_of(r), 'PX', milliseconds(keep_until - now))
    redis.call('ZADD', base .. 'x', 0, 'd' .. order(at) .. handle)
  end
  if kind then
    local user = has(r.flags, USER) and r.user or false
    redis.call('PUBLISH', channel, cjson.encode({kind, handle, number(at), user, cause, has_by == 1 and by or false}))
  end
end
