-- Records that the worker that waits for the end of a change of a jail is alive.
-- KEYS[1] change
-- ARGV[1] how long its worker counts as alive without another call, in ms
-- Returns 1, or 0 if Redis has lost the change
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]))
return 1
