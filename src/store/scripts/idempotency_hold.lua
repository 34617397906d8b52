-- Keeps a run marked as alive.
-- KEYS[1] record
-- ARGV[1] owner, ARGV[2] how long it counts as alive without another call, in ms
-- Returns 1, or 0 if the run is not this owner's any more
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]))
return 1
