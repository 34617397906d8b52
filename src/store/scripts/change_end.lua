-- Records the end of a change of a jail: it no longer runs, and the jail's latest refusal is replaced, or removed if it was done.
-- KEYS[1] running changes of the server, KEYS[2] the latest refusal for each of its jails, KEYS[3] the change, if it took longer than a client waits
-- ARGV[1] jail, ARGV[2] id of the change, ARGV[3] what is known about it, ARGV[4] done, refused, or unknown
-- ARGV[5] what was refused, ARGV[6] how many refusals are kept at most, ARGV[7] how long, in s
-- Returns 1
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('HSET', KEYS[3], 'steps', ARGV[3]) end
local noted = redis.call('HGET', KEYS[1], ARGV[1])
if noted and string.match(noted, '^' .. ARGV[2] .. ' ') then redis.call('HDEL', KEYS[1], ARGV[1]) end
if ARGV[4] == 'done' then
  redis.call('HDEL', KEYS[2], ARGV[1])
elseif ARGV[4] == 'refused'
  and (redis.call('HGET', KEYS[2], ARGV[1]) or redis.call('HLEN', KEYS[2]) < tonumber(ARGV[6])) then
  local time = redis.call('TIME')
  local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSET', KEYS[2], ARGV[1], now .. ' ' .. ARGV[5])
  redis.call('EXPIRE', KEYS[2], ARGV[7])
end
return 1
