-- Ends everybody's sessions. KEYS: the n of each bucket, then what else is touched. ARGV: the number of buckets, <d not_before>,
-- '1' to end every session that exists, the ending ('' to change nothing), the channel ('' to publish nothing).
-- Returns the not_before that holds, or that would.
local at, asked, ending, channel = struct.unpack('<d', ARGV[2]), ARGV[3] == '1', ARGV[4], ARGV[5]

-- A microsecond after the newest entry: entries are cut to microseconds, so this is later than what was cut.
local function after_newest(base)
  local skipped = 0
  while true do
    local entry = redis.call('ZRANGEBYLEX', base .. 'x', '[l0', '(l:', 'LIMIT', skipped, 1)[1]
    if not entry then return 0 end
    local counted = string.match(entry, '^l(%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d)')
    if counted then return (9e15 - tonumber(counted) + 1) / 1e6 end
    skipped = skipped + 1
  end
end

local function move(base, e)
  e.at, e.ending, e.waits = at, ending, true
  -- The first write of a script needs memory to spare, the later ones do not. PERSIST needs none, and changes nothing here.
  redis.call('PERSIST', base .. 'n')
  write_everybody(base, e)
  if pcall(set_aside, base, e) then
    e.waits = false
    write_everybody(base, e)
  end
end

local bases, known = {}, {}
for place = 1, tonumber(ARGV[1]) do
  local base = string.match(KEYS[place], '^(.-{%x+}:)')
  bases[place], known[place] = base, everybody(base) or {at = -1, first = 1, next = 1}
  at = math.max(at, known[place].at)
  if asked then at = math.max(at, after_newest(base)) end
end
if ending == '' then return number(at) end
local moved = false
for place, base in ipairs(bases) do
  if known[place].at < at then
    move(base, known[place])
    moved = true
  end
end
if moved and channel ~= '' then
  local _, _, has_by, cause, by = struct.unpack('<ddBHc0Hc0', ending)
  redis.call('PUBLISH', channel, cjson.encode({'ended_all', '', number(at), false, cause, has_by == 1 and by or false}))
end
return number(at)
