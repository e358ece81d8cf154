-- Creates and changes sessions in order; each succeeds or fails alone. KEYS: the session of each change, then the other keys it
-- touches. ARGV: all changes, encoded by pack_changes of changes.py. Returns for each change: 1 saved; 0 gone; a string: the stored
-- record, which has a conflict; a table: the error.

local ends = {}

-- A script is atomic, so each bucket's time is read once.
local function ended_before(base)
  ends[base] = ends[base] or not_before(base)
  return ends[base]
end

local function create(key, value, now)
  local base, handle = split(key)
  if string.find(handle, '\0', 1, true) then error('a session ID must not contain NUL', 0) end
  local r = read_record(value)
  if redis.call('EXISTS', key, base .. 't:' .. handle) > 0 or r.created < ended_before(base) then return 0 end
  -- Write the entries first: entries without a session are removed later, but a session without entries would stay unlisted.
  enlist(base, handle, r)
  redis.call('SET', key, value, 'PX', milliseconds(r.expires - now + SLACK))
  return 1
end

local function meets(c, r)
  if c.expect then
    local data = read_data(r)
    for key, expected in pairs(c.expect) do
      -- '=' and the expected value, or '-' if the key must be missing.
      local stored = data[key]
      if (stored and '=' .. stored or '-') ~= expected then return false end
    end
  end
  return not c.hash or c.expected == r.hash
end

local function rotate(c, r)
  if c.hash then
    r.hash, r.previous, r.rotated, r.confirmed, r.grace = c.hash, c.previous or '', c.rotated, c.arrived or 0, c.grace
    r.flags = with(with(r.flags, PREVIOUS, c.previous ~= nil), CONFIRMED, c.arrived ~= nil)
  elseif c.confirmed and not has(r.flags, CONFIRMED) and c.confirms == r.hash then
    r.confirmed, r.flags = c.confirmed, with(r.flags, CONFIRMED, true)
  end
end

-- last_seen_at and expires_at only grow, so that changes may arrive in any order; only a new lifetime can shorten a session.
local function move_times(c, r)
  if c.seen then r.seen = math.max(r.seen, c.seen) end
  if c.lifetime then
    r.absolute, r.idle, r.flags = c.lifetime[1], c.lifetime[2], with(r.flags, PERSISTENT, c.lifetime[3])
    r.expires = c.expires or r.expires
  elseif c.expires then
    r.expires = math.max(r.expires, c.expires)
  end
end

local function move_owner(c, r)
  r.ip, r.agent = c.ip or r.ip, c.agent or r.agent
  if c.user then
    r.user, r.signed = c.user, c.signed or 0
    r.flags = with(with(r.flags, USER, true), SIGNED, true)
  end
end

local function merged_data(c, r)
  if not (c.clear or c.set or c.delete) then return string.sub(r.value, r.data_at) end
  local data = c.clear and {} or read_data(r)
  for _, key in ipairs(c.delete or {}) do data[key] = nil end
  for key, value in pairs(c.set or {}) do data[key] = value end
  return write_data(data)
end

local function change(key, c)
  local base, handle = split(key)
  local value = stored_at(key)
  if not value then return 0 end
  local r = read(value)
  if r.damaged or r.expires <= c.now or r.created < ended_before(base) then return 0 end
  if not meets(c, r) then return value end
  local data = merged_data(c, r)
  local old = {seen = r.seen, expires = r.expires, ip = r.ip, user = r.user, signed = r.signed, flags = r.flags}
  rotate(c, r)
  move_times(c, r)
  move_owner(c, r)
  if r.seen == old.seen and r.expires == old.expires and r.ip == old.ip and r.user == old.user and r.signed == old.signed
    and r.flags == old.flags then
    -- No index entry changes: one write is enough.
    redis.call('SET', key, write_record(r, data), 'KEEPTTL')
    return 1
  end
  enlist(base, handle, r, old)
  redis.call('SET', key, write_record(r, data), 'PX', milliseconds(r.expires - c.now + SLACK))
  return 1
end

local answers = {}
for place, c in ipairs(cmsgpack.unpack(ARGV[1])) do
  local ok, answer
  if c.record then ok, answer = pcall(create, KEYS[place], c.record, c.now) else ok, answer = pcall(change, KEYS[place], c) end
  answers[place] = ok and answer or {type(answer) == 'table' and answer.err or tostring(answer)}
end
return answers
