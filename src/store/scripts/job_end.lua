-- Records how a run of a scheduled job ended.
-- KEYS[1] lease, KEYS[2] job
-- ARGV[1] owner|epoch, ARGV[2] outcome: 'ok' or what went wrong
-- Returns 1, or the error FENCED
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[2], 'last_finished_at', string.format('%.0f', now), 'last_outcome', ARGV[2])
redis.call('HDEL', KEYS[2], 'running')
return 1
