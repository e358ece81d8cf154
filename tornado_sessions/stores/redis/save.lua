-- Creates and changes sessions, in order, each in one step and on its own. KEYS: the session of each, then what else is touched.
-- ARGV: all changes, one after another, as pack_change of changes.py writes them; the number of changes.
-- Returns for each: 1 saved, 0 gone, a string: the record that met a conflict, a table: what went wrong.

local CLEAR, SEEN, EXPIRES, LIFETIME, LASTING = 2, 4, 8, 16, 32
local IP, AGENT, LOGIN, ROTATES, KEEPS_OLD, ROTATION_SEEN, CONFIRMS = 64, 128, 256, 512, 1024, 2048, 4096
local asked, place = ARGV[1], 1

local function take()
  local text
  text, place = struct.unpack('<I4c0', asked, place)
  return text
end

local function read_change()
  local c = {set = {}, delete = {}, expect = {}}
  local sets, deletes, expects
  c.flags, sets, deletes, expects, c.now, c.seen, c.expires, c.absolute, c.idle, c.signed, c.rotated, c.rotation_seen, c.grace,
    c.confirmed, c.expected, c.hash, c.previous, c.confirms, place =
    struct.unpack('<HI4I4I4ddddddddddc32c32c32c32', asked, place)
  c.user, c.ip, c.agent, place = struct.unpack('<Hc0Hc0Hc0', asked, place)
  for _ = 1, sets do local key = take(); c.set[key] = take() end
  for _ = 1, deletes do c.delete[#c.delete + 1] = take() end
  -- '=' and the value, or '-' where the key must be missing.
  for _ = 1, expects do local key = take(); c.expect[key] = take() end
  c.touches_data = sets + deletes > 0 or has(c.flags, CLEAR)
  c.guards = expects > 0
  return c
end

local function create(key, value, now)
  local base, handle = split(key)
  local r = read_record(value)
  if redis.call('EXISTS', key, base .. 't:' .. handle) > 0 or r.created < not_before(base) then return 0 end
  -- The entries come first: if the session cannot be written they point at nothing and are dropped; a live one is never unlisted.
  enlist(base, handle, r)
  redis.call('SET', key, value, 'PX', milliseconds(r.expires - now + SLACK))
  return 1
end

local function meets(c, r)
  if c.guards then
    local data = read_data(r)
    for key, expected in pairs(c.expect) do
      local stored = data[key]
      if (stored and '=' .. stored or '-') ~= expected then return false end
    end
  end
  return not has(c.flags, ROTATES) or c.expected == r.hash
end

local function rotate(c, r)
  if has(c.flags, ROTATES) then
    r.hash, r.previous, r.rotated, r.confirmed, r.grace = c.hash, c.previous, c.rotated, c.rotation_seen, c.grace
    r.flags = with(with(r.flags, PREVIOUS, has(c.flags, KEEPS_OLD)), CONFIRMED, has(c.flags, ROTATION_SEEN))
    if not has(r.flags, PREVIOUS) then r.previous = '' end
  elseif has(c.flags, CONFIRMS) and not has(r.flags, CONFIRMED) and c.confirms == r.hash then
    r.confirmed, r.flags = c.confirmed, with(r.flags, CONFIRMED, true)
  end
end

local function move_times(c, r)
  if has(c.flags, SEEN) then r.seen = math.max(r.seen, c.seen) end
  if has(c.flags, LIFETIME) then
    r.absolute, r.idle, r.flags = c.absolute, c.idle, with(r.flags, PERSISTENT, has(c.flags, LASTING))
    if has(c.flags, EXPIRES) then r.expires = c.expires end
  elseif has(c.flags, EXPIRES) then
    r.expires = math.max(r.expires, c.expires)
  end
end

local function move_owner(c, r)
  if has(c.flags, IP) then r.ip = c.ip end
  if has(c.flags, AGENT) then r.agent = c.agent end
  if has(c.flags, LOGIN) then
    r.user, r.signed = c.user, c.signed
    r.flags = with(with(r.flags, USER, true), SIGNED, true)
  end
end

local function merged_data(c, r)
  if not c.touches_data then return string.sub(r.value, r.data_at) end
  local data = has(c.flags, CLEAR) and {} or read_data(r)
  for _, key in ipairs(c.delete) do data[key] = nil end
  for key, value in pairs(c.set) do data[key] = value end
  return write_data(data)
end

local function change(key, c)
  local base, handle = split(key)
  local value = stored_at(key)
  if not value then return 0 end
  local r = read(value)
  if r.damaged or r.expires <= c.now or r.created < not_before(base) then return 0 end
  if not meets(c, r) then return value end
  local data, old = merged_data(c, r), {}
  for name, field in pairs(r) do old[name] = field end
  rotate(c, r)
  move_times(c, r)
  move_owner(c, r)
  if r.seen == old.seen and r.expires == old.expires and r.ip == old.ip and r.user == old.user and r.signed == old.signed
    and r.flags == old.flags then
    redis.call('SET', key, write_record(r, data), 'KEEPTTL')
    return 1
  end
  redis.call('ZREM', base .. 'x', unpack(entries(handle, old)))
  enlist(base, handle, r)
  redis.call('SET', key, write_record(r, data), 'PX', milliseconds(r.expires - c.now + SLACK))
  return 1
end

local answers = {}
for number_of = 1, tonumber(ARGV[2]) do
  local key, run = KEYS[number_of], nil
  local creates = string.byte(asked, place) == 1
  place = place + 1
  if creates then
    local now, value
    now, place = struct.unpack('<d', asked, place)
    value = take()
    run = function() return create(key, value, now) end
  else
    local c = read_change()
    run = function() return change(key, c) end
  end
  local ok, answer = pcall(run)
  answers[number_of] = ok and answer or {type(answer) == 'table' and answer.err or tostring(answer)}
end
return answers
