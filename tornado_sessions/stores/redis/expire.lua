-- Removes old tombstones, expired sessions, then the sessions that end_all.lua ended. KEYS: the e of each bucket, then the other keys
-- it touches. ARGV: the number of buckets, now, seconds to keep tombstones, the maximum number of sessions to remove (and of tombstones
-- in each bucket), the channel. Returns the number of sessions removed.
local now, kept_for, most, channel = (struct.unpack('<d', ARGV[2])), (struct.unpack('<d', ARGV[3])), tonumber(ARGV[4]), ARGV[5]
local removed = 0
-- Entries whose session Redis has already removed do not count as removed; this bounds how many entries one call reads.
local looks = most + 1000

local function wanted()
  return math.min(most - removed, looks)
end

local function ending_by_time(r)
  local cause = r.absolute > 0 and r.absolute <= now and 'absolute' or 'idle'
  local at = r.expires > 0 and r.expires or now
  return struct.pack('<ddBHc0Hc0Hc0', at, now + kept_for, 0, #cause, cause, 0, '', 0, '')
end

-- Returns the session of an entry of e if it has expired, and corrects the entry otherwise.
local function expired_one(base, handle)
  local value = stored_at(base .. 's:' .. handle)
  if not value then
    -- Redis removed it, SLACK seconds after its expiry. Its entries in x are removed when a list reads them.
    redis.call('ZREM', base .. 'e', handle)
    return
  end
  local r = read(value)
  if r.expires > now and not r.damaged then
    -- The score was wrong: correct it.
    redis.call('ZADD', base .. 'e', number(r.expires), handle)
    return
  end
  r.handle, r.ending, r.kind = handle, ending_by_time(r), 'expired'
  return r
end

local function bury_and_count(base, ended)
  bury(base, ended, now, channel)
  removed = removed + #ended
end

local function expire(base)
  while wanted() > 0 do
    local handles = redis.call('ZRANGEBYSCORE', base .. 'e', '-inf', number(now), 'LIMIT', 0, wanted())
    if #handles == 0 then return end
    looks = looks - #handles
    local ended = {}
    for _, handle in ipairs(handles) do ended[#ended + 1] = expired_one(base, handle) end
    bury_and_count(base, ended)
  end
end

-- Returns the session of an entry of a list that was set aside, unless it is live.
local function swept_one(base, entry, limit, ending, latest)
  local handle = string.sub(entry, 9, -2)
  local value = stored_at(base .. 's:' .. handle)
  if not value then return end
  local r = read(value)
  if not r.damaged and r.created >= limit then
    -- It is live, unless a later end_all ended it: then a later list holds it too.
    if r.created >= latest then enlist(base, handle, r) end
    return
  end
  local by_time = r.expires > 0 and r.expires <= now
  r.handle, r.ending, r.kind = handle, by_time and ending_by_time(r) or ending, by_time and 'expired' or nil
  return r
end

local function sweep_block(base, old, block, limit, ending, latest)
  local listed, fence = opened(block)
  local place, ended = 0, {}
  while place < #listed and wanted() > #ended do
    place = place + 1
    looks = looks - 1
    ended[#ended + 1] = swept_one(base, listed[place], limit, ending, latest)
  end
  bury_and_count(base, ended)
  redis.call('ZREM', old, block)
  if place < #listed then redis.call('ZADD', old, 0, fence .. table.concat(listed, '', place + 1)) end
end

-- Removes the sessions of the oldest list that was set aside; returns whether it is finished.
local function sweep_old(base, e)
  local old, limit, ending = base .. 'o' .. e.first, e.at, e.ending
  local head = redis.call('ZRANGEBYLEX', old, '[!', '("', 'LIMIT', 0, 1)[1]
  if head and #head > 9 then limit, ending = struct.unpack('<d', head, 2), string.sub(head, 10) end
  while wanted() > 0 do
    local block = redis.call('ZREVRANGEBYLEX', old, '(m', '[l', 'LIMIT', 0, 1)[1]
    if not block then
      redis.call('UNLINK', old)
      return true
    end
    sweep_block(base, old, block, limit, ending, e.at)
  end
  return false
end

local function sweep(base)
  local e = everybody(base)
  if not e or e.at == 0 then return end
  local first, waited = e.first, e.waits
  if e.waits and pcall(set_aside, base, e) then e.waits = false end
  while e.first < e.next and wanted() > 0 and sweep_old(base, e) do e.first = e.first + 1 end
  if e.first ~= first or e.waits ~= waited then write_everybody(base, e) end
end

-- Whether a tombstone is missing or due. One whose keep_until is damaged gets an expiry now.
local function is_over(key)
  local value = stored_at(key)
  if not value then return true end
  local ok, _, keep_until = pcall(struct.unpack, '<dd', value)
  if ok and keep_until >= 0 and keep_until <= MOST then return keep_until <= now end
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, milliseconds(kept_for)) end
  return false
end

local function forget(base)
  for _, entry in ipairs(redis.call('ZREVRANGEBYLEX', base .. 'd', '(e', '[d', 'LIMIT', 0, most)) do
    local key = base .. 't:' .. string.sub(entry, 9, -2)
    if is_over(key) then
      redis.call('DEL', key)
      redis.call('ZREM', base .. 'd', entry)
    end
  end
end

-- Removes the index entries that destroy_user.lua left. The tombstone says where they are; without it, lists remove them.
local function unlist_ended(base)
  for _, entry in ipairs(redis.call('ZRANGEBYLEX', base .. 'd', '[q', '(r', 'LIMIT', 0, most)) do
    local handle = string.sub(entry, 2)
    local stored = stored_at(base .. 't:' .. handle)
    local ok, behind_ending = pcall(function() return (select(7, struct.unpack('<ddBHc0Hc0Hc0', stored))) end)
    if ok then unlist(base, handle, read(string.sub(stored, behind_ending))) end
    redis.call('ZREM', base .. 'd', entry)
  end
end

for place = 1, tonumber(ARGV[1]) do
  local base = string.match(KEYS[place], '^(.-{%x+}:)')
  unlist_ended(base)
  forget(base)
  expire(base)
  if wanted() > 0 then sweep(base) end
end
return removed
