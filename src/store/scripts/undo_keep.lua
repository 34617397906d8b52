-- Records a change that can be undone, and lists it.
-- KEYS[1] the record, KEYS[2] the list of all that can be undone, KEYS[3] the addresses that belong to it
-- ARGV[1] what was done, ARGV[2] audit entry and id, ARGV[3] how long it is kept, in ms, ARGV[4] how many are kept at most
-- Returns 1
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'done', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local oldest = redis.call('ZRANGE', KEYS[2], 0, 49, 'WITHSCORES')
for i = 1, #oldest, 2 do
  if tonumber(oldest[i + 1]) <= now then redis.call('ZREM', KEYS[2], oldest[i]) end
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[4]))
return 1
