-- Makes a handoff code live. KEYS 1 code; ARGV 1 what it offers (store_codes.h), 2 its lifetime (ms). Returns the
-- moment (ms) when it ends, by this Redis.
local time = redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
