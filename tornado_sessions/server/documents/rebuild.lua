-- KEYS: the log, its tags. Tags every entry again, after the index was lost.
for _, number in ipairs(redis.call('HKEYS', KEYS[1])) do
  local header = header_of(redis.call('HGET', KEYS[1], number))
  tag_with(KEYS[2], number, header and header[2] or {})
end
return 1
