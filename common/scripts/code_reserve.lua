-- A place among a session's live handoff codes. KEYS 1 places: '<hash> <moment it is free again (ms)> …';
-- ARGV 1 hash of the code, 2 its lifetime (ms), 3 how many places there are. Returns 0, or, when all are
-- taken, the ms until the first is free.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local first, last, taken = math.huge, now + ARGV[2], {}
for hash, ends in string.gmatch(redis.call('GET', KEYS[1]) or '', '(%x+) (%d+)') do
  ends = tonumber(ends)
  if ends > now then
    taken[#taken + 1] = hash .. ' ' .. string.format('%.0f', ends)
    first, last = math.min(first, ends), math.max(last, ends)
  end
end
if #taken >= tonumber(ARGV[3]) then return first - now end
taken[#taken + 1] = ARGV[1] .. ' ' .. string.format('%.0f', now + ARGV[2])
redis.call('SET', KEYS[1], table.concat(taken, ' '), 'PX', string.format('%.0f', last - now))
return 0
