-- Since when this Redis remembers (docs/decisions/0009): who finds it missing, or of another run, notes
-- this moment. KEYS 1 memory; ARGV 1 run_id. Returns {since (ms), now (ms)}.
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local since, run_id = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (.*)$')
if not since or run_id ~= ARGV[1] then
  since = now
  redis.call('SET', KEYS[1], now .. ' ' .. ARGV[1])
end
return {since, now}
