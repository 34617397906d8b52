-- Records that a change of a jail is running, and for how long its worker counts as alive without another sign of life.
-- KEYS[1] change
-- ARGV[1] what it is, ARGV[2] how long ago it began, in ms, ARGV[3] how long its worker counts as alive, in ms
-- ARGV[4] how long it is kept, in s
-- Returns 1
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'state', 'running', 'about', ARGV[1], 'began_at', string.format('%.0f', now - ARGV[2]),
  'until', string.format('%.0f', now + ARGV[3]))
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
