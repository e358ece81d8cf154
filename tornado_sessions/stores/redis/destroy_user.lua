-- Ends a user's sessions. KEYS: the x of each bucket, then the other keys it touches. ARGV: the ending, now, the channel, the number
-- of buckets, the prefix of the user's list, the handle to keep, the user. Returns the handles of the sessions it ended.
local ending, now, channel, list, kept, user = ARGV[1], (struct.unpack('<d', ARGV[2])), ARGV[3], ARGV[5], ARGV[6], ARGV[7]
local ended = {}

local function is_theirs(base, r, tail)
  if r.damaged then
    -- The user's list contains it, so it is theirs; bury needs its user and position to remove all its entries.
    r.user, r.flags, r.tail = user, with(r.flags, USER, true), tail
    return true
  end
  return has(r.flags, USER) and r.user == user and r.expires > now and r.created >= not_before(base)
end

for place = 1, tonumber(ARGV[4]) do
  local base = string.match(KEYS[place], '^(.-{%x+}:)')
  for _, entry in ipairs(redis.call('ZRANGEBYLEX', KEYS[place], '[' .. list, '[' .. list .. '\255')) do
    local tail = string.sub(entry, #list + 1)
    local handle = string.sub(tail, 18)
    local value = stored_at(base .. 's:' .. handle)
    if not value then
      redis.call('ZREM', KEYS[place], entry)
    elseif handle ~= kept then
      local r = read(value)
      if is_theirs(base, r, tail) then
        bury(base, handle, r, ending, now, channel, 'destroyed')
        ended[#ended + 1] = handle
      end
    end
  end
end
return ended
