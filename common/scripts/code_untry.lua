-- Takes a try back that was right. KEYS 1 tries, as in code_try.lua; ARGV 1 its moment.
local tries = redis.call('GET', KEYS[1])
if not tries then return 0 end
local kept, taken = {}, 0
for moment in string.gmatch(tries, '%d+') do
  if moment == ARGV[1] and taken == 0 then taken = 1 else kept[#kept + 1] = moment end
end
redis.call('SET', KEYS[1], table.concat(kept, ' '), 'KEEPTTL')
return taken
