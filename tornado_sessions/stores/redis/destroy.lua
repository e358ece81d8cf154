-- Ends sessions by handle. KEYS: the sessions, then the other keys it touches. ARGV: the ending, now, the channel, the number of
-- sessions. Returns the handles of the sessions it ended, live or damaged; expired ones are left to expire.lua.
local ending, now, channel = ARGV[1], (struct.unpack('<d', ARGV[2])), ARGV[3]
local ended, by_bucket = {}, {}
for place = 1, tonumber(ARGV[4]) do
  local key = KEYS[place]
  local base, handle = split(key)
  local value = stored_at(key)
  if value then
    local r = read(value)
    if r.damaged or (r.expires > now and r.created >= not_before(base)) then
      r.handle, r.ending, r.kind = handle, ending, 'destroyed'
      by_bucket[base] = by_bucket[base] or {}
      table.insert(by_bucket[base], r)
      ended[#ended + 1] = handle
    end
  end
end
for base, some in pairs(by_bucket) do bury(base, some, now, channel) end
return ended
