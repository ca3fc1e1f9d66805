-- Since when this Redis remembers (docs/decisions/0009): who finds it missing, of another run, or what
-- cannot be, notes this moment. KEYS 1 memory; ARGV 1 run. Returns {since (ms), now (ms)}.
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local noted = redis.pcall('GET', KEYS[1])
local since, run = string.match(type(noted) == 'string' and noted or '', '^(%d+) (.*)$')
if not since or #since > 15 or run ~= ARGV[1] then
  since = now
  redis.call('SET', KEYS[1], now .. ' ' .. ARGV[1])
end
return {since, now}
