-- Ends sessions by name. KEYS: sessions, then what else is touched. ARGV: the ending, now, the channel, how many. Answers: the handles that were live.
local ending, now, channel = ARGV[1], (struct.unpack('<d', ARGV[2])), ARGV[3]
local ended = {}
for place = 1, tonumber(ARGV[4]) do
  local key = KEYS[place]
  local base, handle = split(key)
  local value = redis.call('GET', key)
  if value then
    local r = read_record(value)
    if r.expires > now and r.created >= not_before(base) then
      bury(base, handle, r, ending, now, channel, 'destroyed')
      ended[#ended + 1] = handle
    end
  end
end
return ended
