-- Shared by end_all.lua and expire.lua: reading and writing n, and setting the list of ended sessions aside.

local UNKNOWN = struct.pack('<ddBHc0Hc0Hc0', 0, 0, 0, 8, 'operator', 0, '', 0, '')

-- Returns the fields of n; nil if its time is damaged. If only the rest is damaged, the rename is repeated: "waits" stays set.
local function everybody(base)
  local stored = stored_at(base .. 'n')
  if not stored then return {at = 0, ending = UNKNOWN, first = 1, next = 1, waits = false} end
  local at = #stored >= 8 and struct.unpack('<d', stored) or nil
  if not at or not is_time(at) then return nil end
  local found = {at = at, ending = UNKNOWN, first = 1, next = 1, waits = at > 0}
  pcall(function()
    local behind = select(7, struct.unpack('<ddBHc0Hc0Hc0', stored, 9))
    found.ending = string.sub(stored, 9, behind - 1)
    local first, next, waits = struct.unpack('<I4I4B', stored, behind)
    found.first, found.next, found.waits = first, next, waits == 1
  end)
  return found
end

local function write_everybody(base, e)
  local numbers = struct.pack('<I4I4B', e.first, e.next, e.waits and 1 or 0)
  redis.call('SET', base .. 'n', struct.pack('<d', e.at) .. e.ending .. numbers)
end

-- Moves a session that is still live back from the list that was set aside.
local function relist(base, old, entry, at)
  local handle = string.sub(entry, 9, -2)
  local value = stored_at(base .. 's:' .. handle)
  local r = value and read(value)
  if not r or r.created < at then return end
  enlist(base, handle, r)
  drop(old, entry)
end

local function set_aside(base, e)
  while redis.call('EXISTS', base .. 'o' .. e.next) == 1 do e.next = e.next + 1 end
  if redis.call('EXISTS', base .. 'x') == 0 then return end
  local old = base .. 'o' .. e.next
  redis.call('RENAME', base .. 'x', old)
  redis.call('UNLINK', base .. 'e')
  redis.call('ZADD', old, 0, '!' .. struct.pack('<d', e.at) .. e.ending)
  e.next = e.next + 1
  -- Live sessions were created since e.at, and therefore also seen since: only those entries need to be read.
  local since = 'l' .. order(e.at) .. '\255'
  for _, block in ipairs(redis.call('ZRANGEBYLEX', old, '[l', '[' .. since)) do
    for _, entry in ipairs(opened(block)) do
      if is_before(entry, since) then relist(base, old, entry, e.at) end
    end
  end
end
