-- Records the end of a change of a jail, with the answer that the request would have got, had it waited.
-- KEYS[1] change
-- ARGV[1] state, ARGV[2] HTTP status of the answer, ARGV[3] its body, ARGV[4] how long it is kept, in s
-- Returns 1, or 0 if Redis has lost the change
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'state', ARGV[1], 'status', ARGV[2], 'document', ARGV[3], 'finished_at',
  string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
redis.call('HDEL', KEYS[1], 'until')
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
