-- Moves the published mark forward, within the epoch, and only over versions that somebody had
-- confirmed: one below them that nobody confirmed must not be hidden. A run of confirmed versions that
-- does not begin right above the mark is remembered until the mark gets there: engines that work on one
-- session at a time confirm it in turns.
-- KEYS 1 meta, 2 confirmed; ARGV 1 version, 2 epoch, 3 first version confirmed. Returns 1 when there is
-- nothing left to do (it is marked or remembered, or the session is gone or in another epoch), else 0.
local MAX_REMEMBERED = 1000
local head = redis.call('HMGET', KEYS[1], 'version', 'epoch', 'published')
local version, published = tonumber(ARGV[1]), tonumber(head[3] or '0') or 0
if not head[1] or head[2] ~= ARGV[2] or version > tonumber(head[1]) or version <= published then
  return 1
end
if published < tonumber(ARGV[3]) - 1 then
  if redis.call('ZCARD', KEYS[2]) >= MAX_REMEMBERED then return 0 end
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2] .. ':' .. ARGV[3] .. '-' .. ARGV[1])
  return 1
end

local passed = {}
for _, run in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local epoch, first, last = string.match(run, '^(%d+):(%d+)%-(%d+)$')
  if epoch == ARGV[2] and tonumber(first) > version + 1 then break end
  if epoch == ARGV[2] then version = math.max(version, tonumber(last)) end
  passed[#passed + 1] = run
end
redis.call('HSET', KEYS[1], 'published', string.format('%.0f', version))
if #passed > 0 then redis.call('ZREM', KEYS[2], unpack(passed)) end
return 1
