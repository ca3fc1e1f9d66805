-- One save of a session: all of it or nothing (contract section 6). What can fail is asked before the
-- first write, and the first write is the one that Redis may refuse; after it nothing fails any more.
--
-- KEYS  1 meta, 2 state, 3 deltas, 4 idem, 5 idem_order, then with flag s the new snapshot, with flag j
--       devices and presence, then keys to drop (snapshots; of a deleted session devices and presence)
-- ARGV  1 expected version (0: must not exist), 2 expected epoch, 3 token of the save that this one
--       builds on ('' any), 4 own token, 5 flags: w writes state, s snapshot, d delete, h no version:
--       meta alone (and the snapshot), j a device joins, t a warning is told, 6 new version, 7 now (ms), 8 a command's
--       lifetime (ms), 9 text of the state, 10 key hash or '', 11 its value, 12 meta's snapshots before
--       ('-': whatever they are), 13 number of words of the entry, 14 of the entry of the version before
--       it, which this save makes, too (0: it makes one), the entry's words, that one's words, the words
--       for meta, with flag j six more: device, its record before ('' none), its record after, name of its
--       user's count or '' when it is counted already, most devices of a user, when to look at it or 0;
--       with flag t one more: meta's clockTold before
-- Returns SAVED, LOST or FULL.
local MAX_UNPUBLISHED = 1000
local MAX_ENTRIES = 1000
local MAX_BYTES = 1048576        -- above it old entries go
local MAX_BYTES_EVER = 16777216  -- above it, with nothing that may go, writes are refused
local MAX_TRIMS = 64             -- a save: bounds its time; the next one goes on
local MAX_KEYS = 1000
local KEY_LIFETIME = 86400000

local meta, state, deltas, idem, idem_order = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local flags = ARGV[5]
local now, lifetime = tonumber(ARGV[7]), tonumber(ARGV[8])

local function has(flag)
  return string.find(flags, flag, 1, true) ~= nil
end

local function id(version)
  return string.format('%.0f-0', version)
end

local function n_bytes(words)
  local n = 0
  for i = 1, #words do n = n + #words[i] end
  return n
end

local function words(from, to)
  local list = {}
  for i = from, to do list[#list + 1] = ARGV[i] end
  return list
end

local head = redis.call('HMGET', meta, 'version', 'epoch', 'token', 'published', 'deltaBytes', 'deleted',
                        'snapshots')
if ARGV[1] == '0' then
  if redis.call('EXISTS', meta) == 1 then return 'LOST' end
elseif head[1] ~= ARGV[1] or head[2] ~= ARGV[2] or head[6] == '1' then
  return 'LOST'
elseif ARGV[3] ~= '' and head[3] ~= ARGV[3] then
  return 'LOST'
elseif ARGV[12] ~= '-' and (head[7] or '') ~= ARGV[12] then
  return 'LOST'
end

if has('t') and (redis.call('HGET', meta, 'clockTold') or '0') ~= ARGV[#ARGV] then return 'LOST' end

local entry_end = 14 + tonumber(ARGV[13])
local first_end = entry_end + tonumber(ARGV[14])
local fields = words(first_end + 1, #ARGV - (has('j') and 6 or 0) - (has('t') and 1 or 0))
local remembers = ARGV[10] ~= '' and not has('d')
if remembers then -- wrong types fail here
  redis.call('HLEN', idem)
  redis.call('ZCARD', idem_order)
end

-- The device joins as it was loaded: presence.lua may have let it join meanwhile.
local devices, presence, joiner
if has('j') then
  local at = has('s') and 7 or 6
  devices, presence, joiner = KEYS[at], KEYS[at + 1], words(#ARGV - 5, #ARGV)
  redis.call('ZCARD', presence)
  if (redis.call('HGET', devices, joiner[1]) or '') ~= joiner[2] then return 'LOST' end
  if joiner[4] ~= '' and tonumber(redis.call('HGET', devices, joiner[4]) or '0') >= tonumber(joiner[5]) then
    return 'LOST'
  end
end

local function join()
  redis.call('HSET', devices, joiner[1], joiner[3])
  redis.call('HINCRBY', devices, '#joined', 1)
  if joiner[4] ~= '' then
    redis.call('HINCRBY', devices, joiner[4], 1)
    redis.call('HINCRBY', devices, '#all', 1)
  end
  if joiner[6] == '0' then redis.call('ZREM', presence, joiner[1])
  else redis.call('ZADD', presence, joiner[6], joiner[1]) end
end

local function remember()
  redis.call('HSET', idem, ARGV[10], ARGV[11])
  redis.call('ZADD', idem_order, now, ARGV[10])
  local old = redis.call('ZRANGEBYSCORE', idem_order, '-inf', id(now - KEY_LIFETIME):sub(1, -3),
                         'LIMIT', 0, MAX_TRIMS)
  local excess = math.min(redis.call('ZCARD', idem_order) - MAX_KEYS, MAX_TRIMS)
  if #old == 0 and excess > 0 then old = redis.call('ZRANGE', idem_order, 0, excess - 1) end
  if #old > 0 then
    redis.call('HDEL', idem, unpack(old))
    redis.call('ZREM', idem_order, unpack(old))
  end
end

-- The snapshot of this save, and what goes: the names that follow.
local function keep_snapshot()
  if has('s') then redis.call('SET', KEYS[6], ARGV[9]) end
  for i = 6 + (has('s') and 1 or 0) + (joiner and 2 or 0), #KEYS do redis.call('DEL', KEYS[i]) end
end

if has('h') then
  keep_snapshot()
  redis.call('HSET', meta, unpack(fields))
  redis.call('HDEL', meta, 'cooling')
  if remembers then remember() end
  return 'SAVED'
end

-- The window: what of it may go (published, and older than a command lives), oldest first.
local published = tonumber(head[4] or '0') or 0
local entry, first_entry = words(15, entry_end), words(entry_end + 1, first_end)
local n_new = #first_entry > 0 and 2 or 1
local new_bytes = n_bytes(entry) + n_bytes(first_entry)
local n_kept = redis.call('XLEN', deltas)
local bytes = new_bytes
if n_kept > 0 then bytes = bytes + (tonumber(head[5] or '0') or 0) end
n_kept = n_kept + n_new
local first = '-'
local trims = false
for _ = 1, MAX_TRIMS do
  if n_kept <= MAX_ENTRIES and bytes <= MAX_BYTES then break end
  local oldest = redis.call('XRANGE', deltas, first, '+', 'COUNT', 1)[1]
  if not oldest then break end
  local version = tonumber(string.match(oldest[1], '^%d+'))
  local time = oldest[2][1] == 't' and tonumber(oldest[2][2]) or 0
  if version > published or now - time < lifetime then break end
  n_kept = n_kept - 1
  bytes = math.max(bytes - n_bytes(oldest[2]), 0)
  first = id(version + 1)
  trims = true
end

if tonumber(ARGV[1]) + n_new - published > MAX_UNPUBLISHED then return 'FULL' end
if bytes > MAX_BYTES_EVER then
  if trims then -- so that the next one finds more room, also when this one's trims were all used up
    redis.call('XTRIM', deltas, 'MINID', first)
    redis.call('HSET', meta, 'deltaBytes', id(bytes - new_bytes):sub(1, -3))
  end
  return 'FULL'
end

if n_new == 2 then redis.call('XADD', deltas, id(tonumber(ARGV[6]) - 1), unpack(first_entry)) end
redis.call('XADD', deltas, ARGV[6] .. '-0', unpack(entry))
if trims then redis.call('XTRIM', deltas, 'MINID', first) end

if has('d') then
  redis.call('DEL', state, idem, idem_order, meta)
  redis.call('XTRIM', deltas, 'MINID', id(published + 1))
else
  if has('w') then redis.call('SET', state, ARGV[9]) end
end
if joiner then join() end
keep_snapshot()

redis.call('HSET', meta, 'token', ARGV[4], 'deltaBytes', id(bytes):sub(1, -3), 'published',
           id(published):sub(1, -3), unpack(fields))
redis.call('HDEL', meta, 'cooling')
if remembers then remember() end
return 'SAVED'
