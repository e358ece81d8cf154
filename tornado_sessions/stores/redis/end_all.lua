-- Ends all sessions. KEYS: the n of each bucket, then the other keys it touches. ARGV: the number of buckets, <d not_before>,
-- <d latest>, '1' to end every existing session, the ending ('' to change nothing), the channel, '1' to publish the event on it,
-- the number of sessions of a bucket with untrusted times from which on every time is trusted.
-- Times after "latest" are not trusted: a host's clock was fast. Sessions created at such a time are ended one by one, because a
-- not_before that covers them would refuse new sessions. Returns the not_before in force, or with '' the one that would be.
local at, latest, asked, ending = (struct.unpack('<d', ARGV[2])), (struct.unpack('<d', ARGV[3])), ARGV[4] == '1', ARGV[5]
local channel, publishes = ARGV[6], ARGV[7] == '1'
local far_at_once = tonumber(ARGV[8])

-- The time of an entry plus a microsecond: entries are truncated, and the result must be later than the exact time.
local function after(entry)
  return (9e15 - struct.unpack('>I7', entry, 2) + 1) / 1e6
end

-- Reads the most recently seen sessions of a bucket until one was seen at a trusted time; after far_at_once sessions every time is
-- trusted. Returns the sessions created at untrusted times, and a not_before that ends all the others.
local function newest(base)
  local far, time, skipped = {}, 0, 0
  for number = 0, 1e6 do
    local block = redis.call('ZRANGEBYLEX', base .. 'x', '[l', '(m', 'LIMIT', number, 1)[1]
    if not block then return far, time end
    local listed = opened(block)
    table.sort(listed, is_before)
    for _, entry in ipairs(listed) do
      local at = after(entry)
      if at <= latest or skipped >= far_at_once then return far, math.max(at, time) end
      skipped = skipped + 1
      local handle = string.sub(entry, 9, -2)
      local value = stored_at(base .. 's:' .. handle)
      local r = value and read(value)
      if r and not r.damaged then
        r.handle, r.ending, r.kind = handle, ending, 'destroyed'
        if r.created > latest then far[#far + 1] = r else time = math.max(time, r.created + 1e-6) end
      end
    end
  end
  return far, time
end

local function move(base, e)
  e.at, e.ending, e.waits = at, ending, true
  -- When memory is full, Redis refuses SET as the first write of a script, but not later. PERSIST is allowed and changes nothing here.
  redis.call('PERSIST', base .. 'n')
  write_everybody(base, e)
  if pcall(set_aside, base, e) then
    e.waits = false
    write_everybody(base, e)
  end
end

local bases, known, far = {}, {}, {}
for place = 1, tonumber(ARGV[1]) do
  local base = string.match(KEYS[place], '^(.-{%x+}:)')
  bases[place], known[place] = base, everybody(base) or {at = -1, first = 1, next = 1}
  at = math.max(at, known[place].at)
  local time
  far[place], time = newest(base)
  if asked then at = math.max(at, time) end
end
if ending == '' then return number(at) end
local moved = false
for place, base in ipairs(bases) do
  if known[place].at < at then
    move(base, known[place])
    moved = true
  end
end
if moved and publishes then
  local _, _, has_by, cause, by = struct.unpack('<ddBHc0Hc0', ending)
  redis.call('PUBLISH', channel, cjson.encode({{'ended_all', '', number(at), false, cause, has_by == 1 and by or false}}))
end
-- Last: if one of these fails because its slot is migrating, all other sessions have already ended.
local now = (struct.unpack('<d', ending))
for place, base in ipairs(bases) do bury(base, far[place], now, channel) end
return number(at)
