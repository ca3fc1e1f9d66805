-- Makes a session hot again that was lost, is damaged, or went cold (docs/decisions/0009): all of it or
-- nothing, and only while what is there is what was found.
--
-- KEYS  1 meta, 2 state, 3 deltas, 4 idem, 5 idem_order, 6 confirmed, 7 devices, 8 presence, 9 loss, 10 the
--       snapshot that is kept, then old snapshots to drop
-- ARGV  1 what was found: absent, hash, or other (a wrong type), 2 its token (absent: that of the loss) or '',
--       3 its run_id or '',
--       4 flags: a adopt (meta's run_id alone changes), d deleted (a tombstone), 5 the new run_id,
--       6 text of the state, 7 number of words of the entry (0: none), the entry's id and its words,
--       number of words of remembered keys, the keys (hash, value, time), the words for meta
-- Returns DONE or LOST.
local meta = KEYS[1]
local flags = ARGV[4]

local function has(flag)
  return string.find(flags, flag, 1, true) ~= nil
end

local function type_of(key)
  return redis.call('TYPE', key).ok
end

local function is_as_found()
  local kind = type_of(meta)
  if ARGV[1] == 'absent' then
    local loss = type_of(KEYS[9]) == 'string' and redis.call('GET', KEYS[9]) or ''
    return kind == 'none' and loss == ARGV[2]
  end
  if ARGV[1] == 'other' then return kind ~= 'none' and kind ~= 'hash' end
  if kind ~= 'hash' then return false end
  local head = redis.call('HMGET', meta, 'token', 'run_id')
  return (head[1] or '') == ARGV[2] and (head[2] or '') == ARGV[3]
end

if not is_as_found() then return 'LOST' end
if has('a') then
  redis.call('HSET', meta, 'run_id', ARGV[5])
  return 'DONE'
end

-- Tells presence.lua's keys from damage: who is there stays there.
local function drop_unless(key, kind)
  if type_of(key) ~= kind then redis.call('DEL', key) end
end

local n_entry = tonumber(ARGV[7])
local at = 8 + (n_entry > 0 and n_entry + 1 or 0)
local keys_end = at + tonumber(ARGV[at])

-- The first write: what Redis refuses (out of memory) is refused here.
if has('d') then redis.call('DEL', meta)
else redis.call('SET', KEYS[10], ARGV[6]) end
redis.call('DEL', KEYS[9], unpack(KEYS, 1, 6))
for i = 11, #KEYS do
  if KEYS[i] ~= KEYS[10] then redis.call('DEL', KEYS[i]) end
end
if has('d') then
  redis.call('DEL', KEYS[7], KEYS[8], KEYS[10])
else
  drop_unless(KEYS[7], 'hash')
  drop_unless(KEYS[8], 'zset')
  redis.call('SET', KEYS[2], ARGV[6])
end

local bytes = 0
if n_entry > 0 then
  redis.call('XADD', KEYS[3], ARGV[8], unpack(ARGV, 9, 8 + n_entry))
  for i = 9, 8 + n_entry do bytes = bytes + #ARGV[i] end
end
for i = at + 1, keys_end, 3 do
  redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[5], ARGV[i + 2], ARGV[i])
end
redis.call('HSET', meta, 'deltaBytes', string.format('%.0f', bytes), unpack(ARGV, keys_end + 1))
return 'DONE'
