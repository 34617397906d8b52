-- Records how far a change of a jail is, and until when the worker that waits for it counts as alive.
-- KEYS[1] running changes of the server, KEYS[2] the change, if it takes longer than a client waits
-- ARGV[1] jail, ARGV[2] id of the change, ARGV[3] what is known about it, ARGV[4] how long its worker counts as alive, in ms
-- ARGV[5] how many changes are noted at most, ARGV[6] how long they are kept, in s
-- Returns 1, or 0 if another change of the jail is running, or too many changes are
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HSET', KEYS[2], 'steps', ARGV[3]) end
local function until_of(noted) return tonumber(string.match(noted, '^%x+ (%d+) ') or '0') end
local before = redis.call('HGET', KEYS[1], ARGV[1])
local began = before and string.match(before, '^' .. ARGV[2] .. ' %d+ (%d+) ')
if before and not began and until_of(before) >= now then return 0 end
if not before and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if until_of(all[i + 1]) < now then redis.call('HDEL', KEYS[1], all[i]) end
  end
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return 0 end
end
local alive = string.format('%.0f', now + ARGV[4])
began = began or string.format('%.0f', now)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. alive .. ' ' .. began .. ' ' .. ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[6])
return 1
