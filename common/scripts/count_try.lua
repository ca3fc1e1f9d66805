-- Counts a redelivery. KEYS 1 tries; ARGV 1 lifetime (ms). Returns the count.
local n = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return n
