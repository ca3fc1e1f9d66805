-- One save of a session: all of it or nothing (contract section 6). What can fail is asked before the
-- first write, and the first write is the one that Redis may refuse; after it nothing fails any more.
-- Each call costs Redis more than what is done between them: the usual save makes five.
--
-- KEYS  1 meta, 2 state, 3 deltas, then with flag k or d idem and idem_order, with flag s the new snapshot,
--       with flag j devices and presence, then keys to drop (snapshots; of a deleted session devices and
--       presence)
-- ARGV  1 expected version (0: must not exist), 2 expected epoch, 3 token of the save that this one
--       builds on ('' any), 4 own token, 5 flags: w writes state, e which has to be there, s snapshot, d delete, h no version:
--       meta alone (and the snapshot), k remembers a key, u which must not be there yet, j a device joins,
--       t a warning is told, 6 new version, 7 now (ms), 8 a command's lifetime (ms), 9 text of the state,
--       10 meta's snapshots before ('-': whatever they are), 11 bytes of the entries' words, 12 number of
--       words of the entry, 13 of the entry of the version before it, which this save makes, too (0: it
--       makes one), the entry's words, that one's words, the words for meta, with flag k two more: key
--       hash, its value; with flag j six: device, its record before ('' none), its record after, name of its
--       user's count or '' when it is counted already, most devices of a user, when to look at it or 0;
--       with flag t one: meta's clockTold before
-- Returns SAVED, LOST, FULL or SEEN: the key is there.
local MAX_UNPUBLISHED = 1000
local MAX_ENTRIES = 1000
local MAX_BYTES = 1048576        -- above it old entries go
local MAX_BYTES_EVER = 16777216  -- above it, with nothing that may go, writes are refused
local MAX_TRIMS = 64             -- a save: bounds its time; the next one goes on
local MAX_KEYS = 1000
local KEYS_EVERY = 16            -- versions: how often old keys are looked for
local KEY_LIFETIME = 86400000

local call = redis.call
local meta, state, deltas = KEYS[1], KEYS[2], KEYS[3]
local flags = ARGV[5]
local is_plain = flags == 'w' or flags == 'we'

local function has(flag)
  return not is_plain and string.find(flags, flag, 1, true) ~= nil
end

local function words(from, to)
  return {unpack(ARGV, from, to)}
end

-- Where the next keys and the last arguments are.
local next_key, last = 4, #ARGV
local function take_keys(n)
  next_key = next_key + n
  return next_key - n
end

local head = call('HMGET', meta, 'token', 'deltaBytes', 'version', 'epoch', 'published', 'deleted', 'cooling')
if ARGV[1] == '0' then
  if call('EXISTS', meta) == 1 then return 'LOST' end
elseif head[3] ~= ARGV[1] or head[4] ~= ARGV[2] or head[6] == '1' then
  return 'LOST'
elseif ARGV[3] ~= '' and head[1] ~= ARGV[3] then
  return 'LOST'
elseif ARGV[10] ~= '-' and (call('HGET', meta, 'snapshots') or '') ~= ARGV[10] then
  return 'LOST'
end

if string.find(flags, 'e', 1, true) and call('EXISTS', state) == 0 then return 'LOST' end

if has('t') then
  if (call('HGET', meta, 'clockTold') or '0') ~= ARGV[last] then return 'LOST' end
  last = last - 1
end

local keys_at = (has('k') or has('d')) and take_keys(2)
local snapshot_at = has('s') and take_keys(1)

-- The device joins as it was loaded: presence.lua may have let it join meanwhile.
local devices, presence, joiner
if has('j') then
  local at = take_keys(2)
  devices, presence, joiner = KEYS[at], KEYS[at + 1], words(last - 5, last)
  last = last - 6
  call('ZCARD', presence)
  if (call('HGET', devices, joiner[1]) or '') ~= joiner[2] then return 'LOST' end
  if joiner[4] ~= '' and tonumber(call('HGET', devices, joiner[4]) or '0') >= tonumber(joiner[5]) then
    return 'LOST'
  end
end

local function join()
  call('HSET', devices, joiner[1], joiner[3])
  call('HINCRBY', devices, '#joined', 1)
  if joiner[4] ~= '' then
    call('HINCRBY', devices, joiner[4], 1)
    call('HINCRBY', devices, '#all', 1)
  end
  if joiner[6] == '0' then call('ZREM', presence, joiner[1])
  else call('ZADD', presence, joiner[6], joiner[1]) end
end

local remembers, n_keys = has('k'), 0
local key_at = last - 1
if remembers then -- wrong types fail here
  last = last - 2
  local is_there = call('HEXISTS', KEYS[keys_at], ARGV[key_at]) == 1
  if is_there and has('u') then return 'SEEN' end
  n_keys = call('ZCARD', KEYS[keys_at + 1]) + (is_there and 0 or 1)
end

local function remember()
  local idem, order = KEYS[keys_at], KEYS[keys_at + 1]
  call('HSET', idem, ARGV[key_at], ARGV[key_at + 1])
  call('ZADD', order, ARGV[7], ARGV[key_at])
  local old = {}
  if tonumber(ARGV[6]) % KEYS_EVERY == 0 then
    old = call('ZRANGEBYSCORE', order, '-inf', tonumber(ARGV[7]) - KEY_LIFETIME, 'LIMIT', 0, MAX_TRIMS)
  end
  if #old == 0 and n_keys > MAX_KEYS then
    old = call('ZRANGE', order, 0, math.min(n_keys - MAX_KEYS, MAX_TRIMS) - 1)
  end
  if #old > 0 then
    call('HDEL', idem, unpack(old))
    call('ZREM', order, unpack(old))
  end
end

-- The snapshot of this save, and what goes: the names that follow.
local function keep_snapshot()
  if snapshot_at then call('SET', KEYS[snapshot_at], ARGV[9]) end
  for i = next_key, #KEYS do call('DEL', KEYS[i]) end
end

local function stay_warm()
  if head[7] and head[7] ~= '' then call('HDEL', meta, 'cooling') end
end

local n_entry, n_first = tonumber(ARGV[12]), tonumber(ARGV[13])
local entry_end = 13 + n_entry
local first_end = entry_end + n_first

-- A warning changes what later saves would write over: they have to know.
if has('h') then
  keep_snapshot()
  if has('t') then call('HSET', meta, 'token', ARGV[4], unpack(ARGV, first_end + 1, last))
  else call('HSET', meta, unpack(ARGV, first_end + 1, last)) end
  stay_warm()
  if remembers then remember() end
  return 'SAVED'
end

-- The window. meta knows its bytes and how many entries it has; where that says that some have to go, or
-- an older meta does not know, the window itself is asked.
local published = tonumber(head[5] or '0') or 0
local n_new = n_first > 0 and 2 or 1
local new_bytes = tonumber(ARGV[11])
local kept_bytes, n_kept = string.match(head[2] or '', '^(%d+) (%d+)$')
kept_bytes, n_kept = tonumber(kept_bytes or head[2]) or 0, tonumber(n_kept)
if not n_kept or n_kept + n_new > MAX_ENTRIES or kept_bytes + new_bytes > MAX_BYTES then
  n_kept = call('XLEN', deltas)
end
local bytes = n_kept > 0 and kept_bytes + new_bytes or new_bytes
n_kept = n_kept + n_new

-- What of it may go (published, and older than a command lives), oldest first.
local first
if n_kept > MAX_ENTRIES or bytes > MAX_BYTES then
  local oldest_to_keep = tonumber(ARGV[7]) - tonumber(ARGV[8])
  for _ = 1, MAX_TRIMS do
    if n_kept <= MAX_ENTRIES and bytes <= MAX_BYTES then break end
    local oldest = call('XRANGE', deltas, first or '-', '+', 'COUNT', 1)[1]
    if not oldest then break end
    local version = tonumber(string.match(oldest[1], '^%d+'))
    local time = oldest[2][1] == 't' and tonumber(oldest[2][2]) or 0
    if version > published or oldest_to_keep < time then break end
    n_kept = n_kept - 1
    for i = 1, #oldest[2] do bytes = bytes - #oldest[2][i] end
    bytes = math.max(bytes, 0)
    first = string.format('%.0f-0', version + 1)
  end
end

if tonumber(ARGV[1]) + n_new - published > MAX_UNPUBLISHED then return 'FULL' end
if bytes > MAX_BYTES_EVER then
  if first then -- so that the next one finds more room, also when this one's trims were all used up
    call('XTRIM', deltas, 'MINID', first)
    call('HSET', meta, 'deltaBytes', string.format('%.0f %.0f', bytes - new_bytes, n_kept - n_new))
  end
  return 'FULL'
end

if n_new == 2 then
  call('XADD', deltas, string.format('%.0f-0', tonumber(ARGV[6]) - 1), unpack(ARGV, entry_end + 1, first_end))
end
call('XADD', deltas, ARGV[6] .. '-0', unpack(ARGV, 14, entry_end))
if first then call('XTRIM', deltas, 'MINID', first) end

if has('d') then
  call('DEL', state, KEYS[keys_at], KEYS[keys_at + 1], meta)
  call('XTRIM', deltas, 'MINID', string.format('%.0f', published + 1))
elseif is_plain or has('w') then
  call('SET', state, ARGV[9])
end
if joiner then join() end
keep_snapshot()

call('HSET', meta, 'token', ARGV[4], 'deltaBytes', bytes .. ' ' .. n_kept, unpack(ARGV, first_end + 1, last))
if not head[5] or has('d') then call('HSET', meta, 'published', string.format('%.0f', published)) end
stay_warm()
if remembers then remember() end
return 'SAVED'
