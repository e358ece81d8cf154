-- Removes index entries whose session or tombstone no longer exists. KEYS: the list of each entry, then the session or tombstone of
-- each. ARGV: the entries.
for place, entry in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[#ARGV + place]) == 0 then redis.call('ZREM', KEYS[place], entry) end
end
return 1
