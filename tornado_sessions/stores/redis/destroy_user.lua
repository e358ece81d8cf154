-- Ends a user's sessions. KEYS: the x of each bucket, then what else is touched. ARGV: the ending, now, the channel, how many buckets,
-- the user's list, the handle to spare. Answers: the handles that were live.
local ending, now, channel, list, spared = ARGV[1], (struct.unpack('<d', ARGV[2])), ARGV[3], ARGV[5], ARGV[6]
local ended = {}
for place = 1, tonumber(ARGV[4]) do
  local base = string.match(KEYS[place], '^(.-{%x+}:)')
  for _, entry in ipairs(redis.call('ZRANGEBYLEX', KEYS[place], '[' .. list, '[' .. list .. '\255')) do
    local handle = string.sub(entry, #list + 18)
    local value = redis.call('GET', base .. 's:' .. handle)
    if not value then
      redis.call('ZREM', KEYS[place], entry)
    elseif handle ~= spared then
      local r = read_record(value)
      if r.expires > now and r.created >= not_before(base) then
        bury(base, handle, r, ending, now, channel, 'destroyed')
        ended[#ended + 1] = handle
      end
    end
  end
end
return ended
