-- One token of a bucket (the generic cell rate algorithm). KEYS 1 bucket: the moment (µs) when it is full
-- again; ARGV 1 µs until one more token, 2 how many it holds. By Redis' own clock, the same for all askers.
-- Returns {taken (1 or 0), tokens left, ms until the next one (0 when taken), ms until it is full}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local whole = interval * burst
local full_at = math.max(tonumber(redis.call('GET', KEYS[1])) or 0, now)
full_at = math.min(full_at, now + whole) -- of a time when the bucket was larger
local wait = full_at + interval - whole - now
if wait > 1 then -- less is rounding
  return {0, 0, math.ceil(wait / 1000), math.ceil((full_at - now) / 1000)}
end
full_at = full_at + interval
local missing = full_at - now
redis.call('SET', KEYS[1], string.format('%.2f', full_at), 'PX', math.ceil(missing / 1000))
return {1, math.max(0, math.floor((whole - missing) / interval + 0.1)), 0, math.ceil(missing / 1000)}
