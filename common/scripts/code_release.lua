-- Gives a place among a session's live handoff codes back. KEYS 1 places, as in code_reserve.lua; ARGV 1 hash
-- of the code.
local places = redis.call('GET', KEYS[1])
if not places then return 0 end
local kept = {}
for hash, ends in string.gmatch(places, '(%x+) (%d+)') do
  if hash ~= ARGV[1] then kept[#kept + 1] = hash .. ' ' .. ends end
end
redis.call('SET', KEYS[1], table.concat(kept, ' '), 'KEEPTTL')
return 1
