-- Ends a user's sessions. KEYS: the user's index in each bucket. ARGV: the ending, now, the channel, the handle to spare.
-- Answers: the handles that were live.
local ending, now, channel, spared = ARGV[1], (struct.unpack('<d', ARGV[2])), ARGV[3], ARGV[4]
local ended = {}
for _, index in ipairs(KEYS) do
  local base = string.match(index, '^(.-{%x+}:)')
  for _, handle in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    local value = redis.call('GET', base .. 's:' .. handle)
    if not value then
      redis.call('ZREM', index, handle)
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
