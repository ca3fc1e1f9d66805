-- Counts a try at a handoff code, of which all that turn out right are taken back (code_untry.lua). KEYS 1 tries:
-- their moments (µs); ARGV 1 how many there may be, 2 within how many µs. Returns {this one's moment, 0}, or
-- {0, ms until there may be another}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local tries = {}
for moment in string.gmatch(redis.call('GET', KEYS[1]) or '', '%d+') do
  if tonumber(moment) > now - ARGV[2] then tries[#tries + 1] = moment end
end
if #tries >= tonumber(ARGV[1]) then
  return {0, math.max(1, math.ceil((tries[1] + ARGV[2] - now) / 1000))}
end
tries[#tries + 1] = string.format('%.0f', now)
redis.call('SET', KEYS[1], table.concat(tries, ' '), 'PX', math.ceil(ARGV[2] / 1000))
return {now, 0}
