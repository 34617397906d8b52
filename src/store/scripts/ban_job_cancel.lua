-- Begins to cancel a ban job: takes it away from the worker that has claimed it, so that no worker continues it. The caller gets
-- the claim, informs the agent, and then ends the job as cancelled (ban_job_end).
-- KEYS[1] job, KEYS[2] audit, KEYS[3] its chain
-- ARGV[1] owner, ARGV[2] how long the claim lives without a renewal, in ms, ARGV[3] the greatest epoch that the owner has seen
-- ARGV[4...] the audit entry
-- Returns {state now, epoch, 1 if it had begun}, or nothing if there is no such job; if it is over, the state is the one it
-- ended in
local job = redis.call('HMGET', KEYS[1], 'state', 'epoch', 'started_at')
if not job[1] then return false end
if job[1] == 'done' or job[1] == 'failed' or job[1] == 'cancelled' then return {job[1], job[2] or '0', 1} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = string.format('%.0f', math.max(tonumber(job[2] or '0') + 1, tonumber(ARGV[3]) + 1, now))
redis.call('HSET', KEYS[1], 'state', 'cancelling', 'owner', ARGV[1], 'epoch', epoch,
  'until', string.format('%.0f', now + ARGV[2]), 'moved_at', string.format('%.0f', now))
redis.call('HDEL', KEYS[1], 'retry_at')
if job[1] ~= 'cancelling' then append_audit(KEYS[2], KEYS[3], 4, #ARGV) end
return {'cancelling', epoch, job[3] and 1 or 0}
