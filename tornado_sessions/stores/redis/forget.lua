-- Takes entries out of an index whose session or tombstone is not there any more. KEYS: indexes. ARGV: for each: its kind, handle.
for place, key in ipairs(KEYS) do
  local kind, handle = ARGV[2 * place - 1], ARGV[2 * place]
  local base = string.match(key, '^(.-{%x+}:)')
  if redis.call('EXISTS', base .. kind .. ':' .. handle) == 0 then redis.call('ZREM', key, handle) end
end
return 1
