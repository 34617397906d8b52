-- Puts a ban job at the end of its jail's line, with its audit entry, and wakes all workers.
-- KEYS[1] open jobs, KEYS[2] line of the jail, KEYS[3] job, KEYS[4] its addresses, KEYS[5] all jobs
-- KEYS[6] the addresses that it has changed, for its undo, KEYS[7] audit, KEYS[8] its chain
-- ARGV[1] id, ARGV[2] what it is, ARGV[3] its place, ARGV[4] how many addresses, ARGV[5] the addresses, empty for none
-- ARGV[6] how many may be open, ARGV[7] how many are listed, ARGV[8] channel that wakes workers
-- ARGV[9] how many addresses are done already, ARGV[10] how many of them were changed, ARGV[11] how many failed
-- ARGV[12] the changed ones, one a line, empty for none, ARGV[13] how many, ARGV[14] how long they are kept, in s
-- ARGV[15...] the audit entry
-- Returns 1, also if the job is there already, since the answer may have been lost; 0 if too many are open
if redis.call('EXISTS', KEYS[3]) == 1 then return 1 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[6]) then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- So that two jobs of the same millisecond have an order, too.
local last = redis.call('ZRANGE', KEYS[5], -1, -1, 'WITHSCORES')
local at = string.format('%.0f', math.max(now, tonumber(last[2] or '0') + 1))
now = string.format('%.0f', now)
redis.call('HSET', KEYS[3], 'state', 'queued', 'about', ARGV[2], 'place', ARGV[3], 'asked', ARGV[4], 'created_at', now,
  'moved_at', now)
if ARGV[9] ~= '0' then redis.call('HSET', KEYS[3], 'done', ARGV[9], 'changed', ARGV[10], 'failed', ARGV[11]) end
if ARGV[12] ~= '' then
  redis.call('SET', KEYS[6], ARGV[12], 'EX', ARGV[14])
  redis.call('HSET', KEYS[3], 'undo_count', ARGV[13], 'undo_bytes', string.format('%.0f', #ARGV[12]))
end
if ARGV[5] ~= '' then redis.call('SET', KEYS[4], ARGV[5]) end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[1], at, ARGV[1])
redis.call('ZADD', KEYS[5], at, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -1 - tonumber(ARGV[7]))
append_audit(KEYS[7], KEYS[8], 15, #ARGV)
redis.call('PUBLISH', ARGV[8], 'ban-job')
return 1
