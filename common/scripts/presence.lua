-- Who is in a session: everything that happens to session:{<id>}:devices and :presence but a save's
-- join (save.lua). Nothing here is O(devices) but `reap`, which is given the fields of one step.
--
-- KEYS 1 devices, 2 presence, 3 meta; ARGV 1 operation, 2 now (ms), then the operation's own; see each.
--
-- devices: '<device>' -> a record (store_device.h), '<device>LF<instance>' -> '1 <since>', and counts, whose
-- names begin with #, which no device has: '#all' devices that are in (arrived or joined), '#joined' those
-- of which device_joined was told, '#user:<user>' those of one user, '#via:<instance>' those by way of one
-- instance, '#instances' -> ',<instance>,…,'.
-- presence: a device -> when to look at it; it follows from the record (`write`).
local devices, presence, meta = KEYS[1], KEYS[2], KEYS[3]
local now = tonumber(ARGV[2])
local MAX_OF_USER, MAX_ALL = 10, 20000
local LEFT_AFTER, REQUEST_LEFT_AFTER = 10000, 120000

local function digits(number)
  return string.format('%.0f', number)
end

local function count(field)
  return tonumber(redis.call('HGET', devices, field) or '0') or 0
end

local function bump(field, by)
  local n = redis.call('HINCRBY', devices, field, by)
  if n <= 0 then redis.call('HDEL', devices, field) end
  return n
end

-- A record that cannot be read is as good as none: the device comes anew.
local function read(device)
  local text = redis.call('HGET', devices, device)
  if not text then return nil end
  local w = {string.match(text, '^(%S+) ([njl]) (%d+) (%d+) (%d+) (%d+) (%d) (%d+) (%d+) (%d+) (%d+) (%d+) (.*)$')}
  if #w ~= 13 then return nil end
  local n = tonumber(w[12])
  return {user = w[1], state = w[2], n = tonumber(w[3]), first = tonumber(w[4]), last = tonumber(w[5]),
          moment = tonumber(w[6]), ever = w[7], leave = tonumber(w[8]), joined = tonumber(w[9]),
          left = tonumber(w[10]), lease = tonumber(w[11]), name = string.sub(w[13], 1, n),
          platform = string.sub(w[13], n + 1)}
end

local function is_owed(d)
  return d.joined > 0 or d.left > 0
end

-- When to look at it: false for never.
local function due(d)
  if d.state == 'n' then return now end
  local at = is_owed(d) and d.lease or nil
  if d.state == 'j' and d.n == 0 and (not at or d.leave < at) then at = d.leave end
  return at
end

local function write(device, d)
  if d.state == 'l' and not is_owed(d) then
    redis.call('HDEL', devices, device)
    redis.call('ZREM', presence, device)
    return
  end
  redis.call('HSET', devices, device, table.concat({
    d.user, d.state, digits(d.n), digits(d.first), digits(d.last), digits(d.moment), d.ever, digits(d.leave),
    digits(d.joined), digits(d.left), digits(d.lease), #d.name, d.name .. d.platform}, ' '))
  local at = due(d)
  if at then redis.call('ZADD', presence, digits(at), device)
  else redis.call('ZREM', presence, device) end
end

-- One device more or less by way of an instance; how many there are now.
local function via(instance, by)
  local n = bump('#via:' .. instance, by)
  local list = redis.call('HGET', devices, '#instances') or ','
  local from, to = string.find(list, ',' .. instance .. ',', 1, true)
  if n > 0 and not from then
    redis.call('HSET', devices, '#instances', list .. instance .. ',')
  elseif n <= 0 and from then
    list = string.sub(list, 1, from) .. string.sub(list, to + 1)
    if list == ',' then redis.call('HDEL', devices, '#instances')
    else redis.call('HSET', devices, '#instances', list) end
  end
  return n
end

-- A connection of the device less, and when it counts as gone if that was the last one.
local function disconnect(device, leave, seen)
  local d = read(device)
  if not d then return end
  d.n = math.max(d.n - 1, 0)
  if d.n == 0 then d.leave = leave end
  d.last = math.max(d.last, seen)
  write(device, d)
end

local operations = {}

-- ARGV 3 device, 4 instance, 5 user, 6 '1' for an admin, 7 name, 8 platform, 9 the node's run_id: a session
-- that was saved under another one is as good as absent. A refusal comes with how many devices there are by
-- way of the instance: without any it has nothing to do with the session.
function operations.arrive(device, instance, user, admin, name, platform, run_id)
  local head = redis.call('HMGET', meta, 'userId', 'participants', 'removedDevices', 'deleted', 'run_id')
  local function lists(list, item)
    return list and string.find(list, item, 1, true) ~= nil
  end
  local function refuse(why)
    return {why, count('#via:' .. instance)}
  end
  if not head[1] or head[4] == '1' or head[5] ~= run_id then return refuse('ABSENT') end
  if head[1] ~= user and admin ~= '1' and not lists(head[2], ',' .. user .. ':') then
    return refuse('NO_ROLE')
  end
  if lists(head[3], ',' .. device .. ',') then return refuse('REMOVED') end
  local d = read(device)
  if not d or d.state == 'l' then
    if count('#user:' .. user) >= MAX_OF_USER then return refuse('TOO_MANY_DEVICES') end
    if count('#all') >= MAX_ALL then return refuse('TOO_MANY_WATCHERS') end
    bump('#user:' .. user, 1)
    bump('#all', 1)
    d = d or {moment = 0, joined = 0, left = 0, lease = 0, name = '', platform = ''}
    d.user, d.state, d.n, d.first = user, 'n', 0, now
  end
  if redis.call('HSET', devices, device .. '\n' .. instance, '1 ' .. ARGV[2]) == 1 then
    d.n = d.n + 1
    via(instance, 1)
  end
  d.ever, d.leave, d.last = '1', 0, now
  if name ~= '' then d.name = name end
  if platform ~= '' then d.platform = platform end
  write(device, d)
  return {d.state == 'n' and 'FIRST' or 'ADMITTED', 1}
end

-- ARGV 3 device, 4 instance. Returns how many devices are left by way of the instance.
function operations.depart(device, instance)
  if redis.call('HDEL', devices, device .. '\n' .. instance) == 0 then return count('#via:' .. instance) end
  local n = via(instance, -1)
  disconnect(device, now + LEFT_AFTER, now)
  return n
end

-- An instance that is no more had these devices. ARGV 3 instance, then devices.
function operations.reap(instance, ...)
  for _, device in ipairs({...}) do
    if redis.call('HDEL', devices, device .. '\n' .. instance) == 1 then
      via(instance, -1)
      disconnect(device, now, 0)
    end
  end
  return 1
end

-- A request by the device. ARGV 3 device.
function operations.touch(device)
  local d = read(device)
  if not d then return 0 end
  d.last = math.max(d.last, now)
  if d.state == 'j' and d.n == 0 and d.ever == '0' then d.leave = now + REQUEST_LEFT_AFTER end
  write(device, d)
  return 1
end

-- What has become of a device that is due. A join or a leave is owed until `told` says otherwise.
local function step(device, d)
  local moment = math.max(now, d.moment + 1)
  if d.state == 'n' and (d.n > 0 or now < d.leave) then
    d.state, d.joined, d.moment = 'j', moment, moment
    bump('#joined', 1)
  elseif d.state == 'n' or (d.state == 'j' and d.n == 0 and d.leave <= now) then
    if d.state == 'j' then
      d.left, d.moment = moment, moment
      bump('#joined', -1)
    end
    d.state = 'l'
    bump('#user:' .. d.user, -1)
    bump('#all', -1)
  end
end

-- ARGV 3 how many at most, 4 end of the lease, 5 the node's run_id. Returns {version, epoch, active device, next look or 0, devices
-- joined, then for each device with something to tell: {device, user, name, platform, moment of a join or
-- 0, moment of a leave or 0}}; nil without a session, 'STALE' of one that was saved under another run_id.
function operations.judge(most, lease, run_id)
  local head = redis.call('HMGET', meta, 'version', 'epoch', 'activeDeviceId', 'deleted', 'run_id')
  if not head[1] or not head[2] or head[4] == '1' then return nil end
  if head[5] ~= run_id then return 'STALE' end
  local answer = {head[1], head[2], head[3] or '', '0', '0'}
  for _, device in ipairs(redis.call('ZRANGEBYSCORE', presence, '-inf', now, 'LIMIT', 0, most)) do
    local d = read(device)
    if d then
      step(device, d)
      if is_owed(d) then
        d.lease = tonumber(lease)
        answer[#answer + 1] = {device, d.user, d.name, d.platform, digits(d.joined), digits(d.left)}
      end
      write(device, d)
    else
      redis.call('ZREM', presence, device)
    end
  end
  local first = redis.call('ZRANGE', presence, 0, 0, 'WITHSCORES')
  if first[2] then answer[4] = digits(tonumber(first[2])) end
  answer[5] = digits(count('#joined'))
  return answer
end

-- What was leased until then is told. ARGV 3 end of the lease, 4 device.
function operations.told(lease, device)
  local d = read(device)
  if not d or d.lease ~= tonumber(lease) then return 0 end
  d.joined, d.left, d.lease = 0, 0, 0
  write(device, d)
  return 1
end

return operations[ARGV[1]](unpack(ARGV, 3))
