-- Puts a ban job at the end of its jail's line, with its audit entry, and wakes all workers.
-- KEYS[1] open jobs, KEYS[2] line of the jail, KEYS[3] job, KEYS[4] its addresses, KEYS[5] all jobs, KEYS[6] audit
-- KEYS[7] its chain
-- ARGV[1] id, ARGV[2] what it is, ARGV[3] its place, ARGV[4] how many addresses, ARGV[5] the addresses, empty for none
-- ARGV[6] how many may be open, ARGV[7] how many are listed, ARGV[8] channel that wakes workers
-- ARGV[9...] the audit entry
-- Returns 1; also if it is there already, since the answer may have been lost; 0 if too many are open
if redis.call('EXISTS', KEYS[3]) == 1 then return 1 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[6]) then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Two of the same millisecond have an order, too.
local last = redis.call('ZRANGE', KEYS[5], -1, -1, 'WITHSCORES')
local at = string.format('%.0f', math.max(now, tonumber(last[2] or '0') + 1))
now = string.format('%.0f', now)
redis.call('HSET', KEYS[3], 'state', 'queued', 'about', ARGV[2], 'place', ARGV[3], 'asked', ARGV[4], 'created_at', now,
  'moved_at', now)
if ARGV[5] ~= '' then redis.call('SET', KEYS[4], ARGV[5]) end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[1], at, ARGV[1])
redis.call('ZADD', KEYS[5], at, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -1 - tonumber(ARGV[7]))
append_audit(KEYS[6], KEYS[7], 9, #ARGV)
redis.call('PUBLISH', ARGV[8], 'ban-job')
return 1
