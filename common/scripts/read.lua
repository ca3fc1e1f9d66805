-- What a session is at one moment, where MULTI does not do: Redis refuses to queue even reads while it
-- is out of memory, and reads have to go on then. MULTI costs Redis a quarter of this.
-- KEYS 1 meta, 2 state, 3 deltas, 4 idem
-- ARGV 1 flags: s state, d deltas; 2 first entry of the deltas, then key hashes
-- Returns {meta, state, entries, values of the hashes}; what is not asked for is nil. A wrong type is an
-- error in that place only.
local function has(flag)
  return string.find(ARGV[1], flag, 1, true) ~= nil
end

return {
  redis.pcall('HGETALL', KEYS[1]),
  has('s') and redis.pcall('GET', KEYS[2]),
  has('d') and redis.pcall('XRANGE', KEYS[3], ARGV[2], '+'),
  #ARGV > 2 and redis.pcall('HMGET', KEYS[4], unpack(ARGV, 3)),
}
