-- Gives up the claim of a ban job: another worker, or the same one, may claim it after a while.
-- KEYS[1] job
-- ARGV[1] owner|epoch, ARGV[2] after how many ms, ARGV[3] why, empty if nothing went wrong, ARGV[4] channel that wakes workers
-- Returns 1, or 0 if the claim is lost
local job = redis.call('HMGET', KEYS[1], 'state', 'owner', 'epoch')
if (job[2] or '') .. '|' .. (job[3] or '') ~= ARGV[1] then return 0 end
if job[1] == 'running' then redis.call('HSET', KEYS[1], 'state', 'queued') end
redis.call('HDEL', KEYS[1], 'owner', 'until')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'retry_at', string.format('%.0f', now + ARGV[2]))
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'trouble', ARGV[3]) end
redis.call('PUBLISH', ARGV[4], 'ban-job')
return 1
