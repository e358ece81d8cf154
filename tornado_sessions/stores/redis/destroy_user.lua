-- Ends a user's sessions. KEYS: the x of each bucket, then the other keys it touches. ARGV: the ending, now, the channel, the number
-- of buckets, the prefix of the user's list, the handle to keep, the user, the number of sessions to end at most or ''. Returns the
-- handles of the sessions it ended.
local ending, now, channel, list, kept, user = ARGV[1], (struct.unpack('<d', ARGV[2])), ARGV[3], ARGV[5], ARGV[6], ARGV[7]
local at_most = tonumber(ARGV[8]) or math.huge
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

-- Returns what is stored of sessions, in their order; false if there is nothing.
local function stored_of(base, handles)
  local keys = {}
  for place, handle in ipairs(handles) do keys[place] = base .. 's:' .. handle end
  local found = redis.call('MGET', unpack(keys))
  -- MGET returns nothing for a key of another type.
  for place, key in ipairs(keys) do found[place] = found[place] or stored_at(key) end
  return found
end

-- Ends the sessions of some entries of the user's list; adds the entries that are over to "over".
local function finish(base, listed, limit, over)
  local handles, some, known = {}, {}, {}
  for place, entry in ipairs(listed) do handles[place] = string.sub(entry, #list + 8, -2) end
  local stored = stored_of(base, handles)
  for place, handle in ipairs(handles) do
    local entry, value = listed[place], stored[place]
    local r = #ended < at_most and value and handle ~= kept and not known[handle] and read(value)
    if r and is_theirs(r, string.sub(entry, #list + 1), limit) then
      r.handle, r.ending, r.kind, r.stays = handle, ending, 'destroyed', #ended >= FEW and not r.damaged
      some[#some + 1], ended[#ended + 1], known[handle] = r, handle, true
    end
    over[entry] = not value or known[handle]
  end
  bury(base, some, now, channel)
end

for place = 1, tonumber(ARGV[4]) do
  local x = KEYS[place]
  local base = string.match(x, '^(.-{%x+}:)')
  local listed, limit, over = entries_with(blocks_with(x, list), list), not_before(base), {}
  for first = 1, #listed, 500 do
    finish(base, {unpack(listed, first, math.min(first + 499, #listed))}, limit, over)
  end
  drop_all(x, blocks_with(x, list), over)
end
return ended
