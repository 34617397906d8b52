-- Ends a ban job, with its audit entry, and wakes all workers for the next in its line.
-- KEYS[1] job, KEYS[2] open jobs, KEYS[3] line of the jail, KEYS[4] its addresses, KEYS[5] its failures, KEYS[6] audit
-- KEYS[7] its chain
-- ARGV[1] owner|epoch, ARGV[2] state it must have, ARGV[3] id, ARGV[4] state it ends in, ARGV[5] why
-- ARGV[6] how long it is kept, in s, ARGV[7] channel that wakes workers, ARGV[8...] the audit entry
-- Returns 1, or 0 if the claim is lost
local job = redis.call('HMGET', KEYS[1], 'state', 'owner', 'epoch')
if job[1] ~= ARGV[2] or (job[2] or '') .. '|' .. (job[3] or '') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'state', ARGV[4], 'finished_at',
  string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
redis.call('HDEL', KEYS[1], 'owner', 'until', 'retry_at', 'trouble')
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'reason', ARGV[5]) end
redis.call('ZREM', KEYS[2], ARGV[3])
redis.call('LREM', KEYS[3], 1, ARGV[3])
redis.call('UNLINK', KEYS[4])
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('EXPIRE', KEYS[5], ARGV[6])
append_audit(KEYS[6], KEYS[7], 8, #ARGV)
redis.call('PUBLISH', ARGV[7], 'ban-job')
return 1
