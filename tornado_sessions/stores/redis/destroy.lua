-- Ends sessions by name. KEYS: sessions. ARGV: the ending, now, the channel. Answers: the handles that were live.
local ending, now, channel = ARGV[1], (struct.unpack('<d', ARGV[2])), ARGV[3]
local ended = {}
for _, key in ipairs(KEYS) do
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
