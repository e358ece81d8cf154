-- Shared by all scripts: key names, the layout of a record, and moving a session between the indexes.
--
-- Sessions are spread over the buckets that the URL asks for, 16 by default. All keys of a bucket share a hash tag, so a script changes a session and its indexes in one
-- atomic step, on a cluster too. BASE is "PREFIX{BB}:". Each bucket has these keys:
--   s:HANDLE  a session; see RECORD
--   t:HANDLE  the tombstone of an ended session: the ending, then the record without its data
--   e         live sessions, scored by expiry
--   x         all lists of live sessions in one set, in the blocks of blocks.lua. An entry is the prefix of its list, ORDER, HANDLE
--             and \0; the latest comes first. Prefixes: l all sessions, uUSER\0 those of a user, v those without a user, s those with
--             a user (ordered by sign-in), iADDRESS\0 those of an address
--   d         tombstones: d ORDER HANDLE \0, latest ending first; q HANDLE for each whose entries in x expire.lua has yet to remove;
--             on a cluster also "!", so that the key always exists
--   n         the last time that all sessions were ended: <d not_before>, and unless it is 0: ENDING <I4 first> <I4 next> <B waits>
--   oNUMBER   a former x, set aside when all sessions were ended: dead sessions that expire.lua has yet to remove. NUMBER is at
--             least "first" and below "next". The member "!" <d not_before> ENDING holds how they ended
--   c:NAME    a small value of Store.swap
--   b         "LAYOUT/BUCKETS": the version of this layout and the number of buckets, in the first bucket only
--
-- Ending all sessions renames x to oNUMBER and unlinks e: constant time for any number of sessions, no memory needed, and lists and
-- counts hold only live sessions at once. If the rename fails because the slot is migrating to another node, "waits" is set and
-- expire.lua renames later.
--
-- On a cluster the caller declares every key that always exists, so that Redis can redirect a script while the slot migrates.

-- Seconds that Redis keeps an expired session, so that expire.lua can publish its end. Loads check the expiry themselves.
local SLACK = 3600
local VERSION = 2
local PERSISTENT, USER, SIGNED, PREVIOUS, CONFIRMED = 1, 2, 4, 8, 16
local RECORD = '<BBdddddddddc32'
local TIMES = {'created', 'seen', 'expires', 'absolute', 'idle', 'rotated', 'confirmed', 'signed', 'grace'}
-- The latest time that the digits of an index entry can represent; the first second of the year 10000, which no date can represent.
local MOST, NO_DATE = 9e9, 253402300800

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

-- Returns the string at a key; false if there is none; '' for a key of another type: no record is empty, so it is read as damaged.
local function stored_at(key)
  local value = redis.pcall('GET', key)
  if type(value) ~= 'table' then return value end
  if string.find(value.err, 'WRONGTYPE', 1, true) then return '' end
  -- Any other error, such as a key that has migrated to another node, says nothing about the value.
  error(value.err, 0)
end

-- Rejects numbers such as 1e300: a not_before like that would refuse every new session, and nothing can lower it.
local function is_time(seconds)
  return seconds >= 0 and seconds < NO_DATE
end

-- Replaces each well-formed sequence by a space. Removing it could join the bytes around it into a well-formed sequence.
local function is_utf8(text)
  if not string.find(text, '[\128-\255]') then return true end
  text = string.gsub(text, '[\194-\223][\128-\191]', ' ')
  text = string.gsub(text, '\224[\160-\191][\128-\191]', ' ')
  text = string.gsub(text, '[\225-\236\238\239][\128-\191][\128-\191]', ' ')
  text = string.gsub(text, '\237[\128-\159][\128-\191]', ' ')
  text = string.gsub(text, '\240[\144-\191][\128-\191][\128-\191]', ' ')
  text = string.gsub(text, '[\241-\243][\128-\191][\128-\191][\128-\191]', ' ')
  text = string.gsub(text, '\244[\128-\143][\128-\191][\128-\191]', ' ')
  return not string.find(text, '[\128-\255]')
end

local function read_head(value)
  local version, flags, created, seen, expires, absolute, idle, rotated, confirmed, signed, grace, hash, at =
    struct.unpack(RECORD, value)
  if version ~= VERSION then error('another version') end
  -- With all fields at once: a table that grows is copied several times.
  return {value = value, version = version, flags = flags, created = created, seen = seen, expires = expires,
    absolute = absolute, idle = idle, rotated = rotated, confirmed = confirmed, signed = signed, grace = grace,
    hash = hash, previous = '', user = '', ip = '', agent = '', data_at = 0}, at
end

local function check_data(value, at)
  while at <= #value do
    local key
    key, at = struct.unpack('<I4c0', value, at)
    if not is_utf8(key) then error('a key is not UTF-8') end
    at = at + 4 + struct.unpack('<I4', value, at)
  end
  if at ~= #value + 1 then error('too short') end
end

-- Raises an error for the same bytes that read_record of records.py rejects.
local function read_record(value)
  local r, at = read_head(value)
  -- Check one by one: math.min and math.max may skip NaN.
  for _, name in ipairs(TIMES) do
    local seconds = r[name]
    if not (seconds >= 0 and seconds < NO_DATE) then error('a time') end
  end
  if r.seen > MOST or r.signed > MOST then error('a time') end
  if r.flags > 31 then error('flags') end
  if has(r.flags, PREVIOUS) then r.previous, at = struct.unpack('c32', value, at) end
  r.user, r.ip, r.agent, r.data_at = struct.unpack('<Hc0Hc0Hc0', value, at)
  if not (is_utf8(r.user) and is_utf8(r.ip) and is_utf8(r.agent)) then error('a text is not UTF-8') end
  check_data(value, r.data_at)
  return r
end

-- Returns the readable fields of a damaged record; the others are blank.
local function salvage(value)
  local ok, r, at = pcall(read_head, value)
  if not ok then
    r = {version = VERSION, flags = 0, hash = string.rep('\0', 32), previous = '', user = '', ip = '', agent = ''}
  end
  r.damaged = true
  if ok and has(r.flags, PREVIOUS) then at = at + 32 end
  r.flags = with(r.flags % 32, PREVIOUS, false)
  for _, name in ipairs(TIMES) do
    local seconds = r[name] or 0
    r[name] = seconds >= 0 and seconds <= MOST and seconds or 0
  end
  if r.signed == 0 then r.flags = with(r.flags, SIGNED, false) end
  for _, name in ipairs({'user', 'ip', 'agent'}) do
    local found, text, behind = pcall(struct.unpack, '<Hc0', value, at or #value + 1)
    if not found then break end
    if is_utf8(text) then r[name] = text end
    at = behind
  end
  if r.user == '' then r.flags = with(r.flags, USER, false) end
  return r
end

-- Never raises: a damaged record must not stop a script that handles others.
local function read(value)
  local ok, r = pcall(read_record, value)
  return ok and r or salvage(value)
end

local function write_record(r, data)
  return struct.pack(RECORD, r.version, r.flags, r.created, r.seen, r.expires, r.absolute, r.idle, r.rotated, r.confirmed,
    r.signed, r.grace, r.hash) .. r.previous .. struct.pack('<Hc0Hc0Hc0', #r.user, r.user, #r.ip, r.ip, #r.agent, r.agent) .. data
end

-- The record without its data, for a tombstone.
local function facts_of(r)
  return r.damaged and write_record(r, '') or string.sub(r.value, 1, r.data_at - 1)
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

-- Reading a damaged value as "never" would revive every session that it ended, so it raises an error.
local function not_before(base)
  local stored = stored_at(base .. 'n')
  if not stored then return 0 end
  local at = #stored >= 8 and struct.unpack('<d', stored) or nil
  if not at or not is_time(at) then error('MISMATCH ' .. base .. 'n, the time at which all sessions were ended, is damaged', 0) end
  return at
end

local function milliseconds(seconds)
  return string.format('%.0f', math.max(1, math.ceil(seconds * 1000)))
end

local function number(value)
  return string.format('%.17g', value)
end

-- Microseconds, counted down so that the latest sorts first, in 7 bytes. The first is below 32, so that \255 sorts after all of them.
local function order(at)
  return struct.pack('>I7', 9e15 - math.floor(math.min(at, MOST) * 1e6))
end

-- NUL ends a name in an entry, so a NUL inside the name is escaped.
local function escaped(name)
  return (string.gsub(name, '[%z\1]', {['\0'] = '\1\1', ['\1'] = '\1\2'}))
end

-- r.tail is ORDER HANDLE \0 of a damaged session, taken from an index entry: its own time may be unreadable.
local function entries(handle, r)
  local tail = r.tail or order(r.seen) .. handle .. '\0'
  local found = {'l' .. tail, 'i' .. escaped(r.ip) .. '\0' .. tail}
  if has(r.flags, USER) then
    found[3] = 'u' .. escaped(r.user) .. '\0' .. tail
    found[4] = 's' .. order(r.signed) .. handle .. '\0'
  else
    found[3] = 'v' .. tail
  end
  return found
end

-- "old" is the record before the change; nil for a session that is not listed.
local function enlist(base, handle, r, old)
  -- A new session is refused when memory is full, by its first write. A touch first removes an entry: a full server allows that, and
  -- all writes after it.
  if not old then redis.call('ZADD', base .. 'e', number(r.expires), handle) end
  local former = old and entries(handle, old) or {}
  for place, entry in ipairs(entries(handle, r)) do move(base .. 'x', former[place], entry) end
  if old then redis.call('ZADD', base .. 'e', number(r.expires), handle) end
end

local function unlist(base, handle, r)
  for _, entry in ipairs(entries(handle, r)) do drop(base .. 'x', entry) end
end

-- Returns the entry of d for a tombstone; false if the server refused it.
local function leave_tombstone(base, r, at, keep_for)
  local stored = redis.pcall('SET', base .. 't:' .. r.handle, r.ending .. facts_of(r), 'PX', milliseconds(keep_for))
  return not stored.err and 'd' .. order(at) .. r.handle .. '\0'
end

-- Ends sessions of one bucket. Beside its fields, each has: handle; ending; kind, of the event to publish, if any; and stays: its index
-- entries are left to expire.lua. Few commands, each for many sessions, because a command costs as much as the work it does.
-- ENDING: <d at> <d keep_until> <B by?> <H cause> <H by> <H reason>
local function bury_some(base, ended, now, channel)
  local keys, handles, listed, events = {}, {}, {}, {}
  for place, r in ipairs(ended) do keys[place], handles[place] = base .. 's:' .. r.handle, r.handle end
  -- Delete first: a script may delete when memory is full, and after its first write Redis accepts all others.
  redis.call('DEL', unpack(keys))
  redis.call('ZREM', base .. 'e', unpack(handles))
  for _, r in ipairs(ended) do
    local at, keep_until, has_by, cause, by = struct.unpack('<ddBHc0Hc0', r.ending)
    if r.stays then listed[#listed + 1] = 'q' .. r.handle else unlist(base, r.handle, r) end
    -- The tombstone may be refused while the slot migrates; the session must end anyway.
    listed[#listed + 1] = keep_until > now and leave_tombstone(base, r, at, keep_until - now) or nil
    local user = has(r.flags, USER) and r.user or false
    if r.kind then events[#events + 1] = {r.kind, r.handle, number(at), user, cause, has_by == 1 and by or false} end
  end
  local scored = {}
  for _, entry in ipairs(listed) do
    scored[#scored + 1] = 0
    scored[#scored + 1] = entry
  end
  if #scored > 0 then redis.pcall('ZADD', base .. 'd', unpack(scored)) end
  if #events > 0 then redis.call('PUBLISH', channel, cjson.encode(events)) end
end

local function bury(base, ended, now, channel)
  for first = 1, #ended, 500 do bury_some(base, {unpack(ended, first, math.min(first + 499, #ended))}, now, channel) end
end
