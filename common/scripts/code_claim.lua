-- A handoff code is claimed once, and may be claimed again by the same claimant. KEYS 1 code, as in
-- store_codes.h; ARGV 1 the user who asks, '-' for one without a login, 2 claimant, 3 user and 4 device that get
-- in. Returns the code as it is claimed; nothing when it is not there, another's, or for its owner's account
-- alone and the user another.
local code = redis.call('GET', KEYS[1])
if not code then return false end
local offer, owner, role, claimant = string.match(code, '^(%S+ (%S+) (%S+) %S+) (%S+) %S+ %S+$')
if role == 'owner' and ARGV[1] ~= '-' and ARGV[1] ~= owner then return false end
if claimant == ARGV[2] then return code end
if claimant ~= '-' then return false end
code = table.concat({offer, ARGV[2], role == 'owner' and owner or ARGV[3], ARGV[4]}, ' ')
redis.call('SET', KEYS[1], code, 'KEEPTTL')
return code
