-- Ends a user's sessions. KEYS: the x of each bucket, then the other keys it touches. ARGV: the ending, now, the channel, the number
-- of buckets, the prefix of the user's list, the handle to keep, the user. Returns the handles of the sessions it ended.
local ending, now, channel, list, kept, user = ARGV[1], (struct.unpack('<d', ARGV[2])), ARGV[3], ARGV[5], ARGV[6], ARGV[7]
-- To remove the entries of a session from the other lists takes longer than to end it: of more sessions, expire.lua removes them.
local FEW = 50
local ended = {}

local function is_theirs(r, tail, limit)
  if r.damaged then
    -- The user's list contains it, so it is theirs; bury needs its user and position to remove all its entries.
    r.user, r.flags, r.tail = user, with(r.flags, USER, true), tail
    return true
  end
  return has(r.flags, USER) and r.user == user and r.expires > now and r.created >= limit
end

-- Ends the session of an entry of the user's list; returns whether the entry is over.
local function finish(base, entry, limit)
  local tail = string.sub(entry, #list + 1)
  local handle = string.sub(tail, 8, -2)
  local value = stored_at(base .. 's:' .. handle)
  if not value then return true end
  local r = handle ~= kept and read(value)
  if not r or not is_theirs(r, tail, limit) then return false end
  local is_later = #ended >= FEW and not r.damaged
  bury(base, handle, r, ending, now, channel, 'destroyed', is_later)
  if is_later then redis.call('ZADD', base .. 'd', 0, 'q' .. handle) end
  ended[#ended + 1] = handle
  return true
end

for place = 1, tonumber(ARGV[4]) do
  local x = KEYS[place]
  local base = string.match(x, '^(.-{%x+}:)')
  local listed, limit, over = entries_with(x, list, 1e9), not_before(base), {}
  for _, entry in ipairs(listed) do over[entry] = finish(base, entry, limit) end
  drop_all(x, list, over)
end
return ended
