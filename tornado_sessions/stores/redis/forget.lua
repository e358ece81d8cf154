-- Removes index entries whose session or tombstone no longer exists. KEYS: the list of each entry, then the session or tombstone of
-- each. ARGV: the entries.
for place, entry in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[#ARGV + place]) == 0 then
    -- Tombstones are in d, which has no blocks.
    if string.sub(entry, 1, 1) == 'd' then redis.call('ZREM', KEYS[place], entry) else drop(KEYS[place], entry) end
  end
end
return 1
