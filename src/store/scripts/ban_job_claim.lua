-- Claims a ban job that nobody works on and that is the first of its jail's line. The epoch rises with every claim, even if
-- Redis lost its data, since it is at least Redis's time, and greater than any that the worker has ever seen.
-- KEYS[1] job, KEYS[2] line of the jail
-- ARGV[1] id, ARGV[2] owner, ARGV[3] how long the claim lives without a renewal, in ms, ARGV[4] the greatest epoch that the owner
-- has seen
-- Returns {epoch, state, asked, done, changed, failed, ms since its last progress}, or nothing
local job = redis.call('HMGET', KEYS[1], 'state', 'until', 'retry_at', 'epoch')
if job[1] ~= 'queued' and job[1] ~= 'running' and job[1] ~= 'cancelling' then return false end
if redis.call('LINDEX', KEYS[2], 0) ~= ARGV[1] then return false end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now < tonumber(job[2] or '0') or now < tonumber(job[3] or '0') then return false end
local epoch = string.format('%.0f', math.max(tonumber(job[4] or '0') + 1, tonumber(ARGV[4]) + 1, now))
if redis.call('HSETNX', KEYS[1], 'started_at', string.format('%.0f', now)) == 1 then
  redis.call('HSET', KEYS[1], 'moved_at', string.format('%.0f', now))
end
local state = job[1] == 'queued' and 'running' or job[1]
redis.call('HSET', KEYS[1], 'state', state, 'owner', ARGV[2], 'epoch', epoch,
  'until', string.format('%.0f', now + ARGV[3]))
local at = redis.call('HMGET', KEYS[1], 'asked', 'done', 'changed', 'failed', 'moved_at')
return {epoch, state, at[1] or '0', at[2] or '0', at[3] or '0', at[4] or '0',
  string.format('%.0f', math.max(0, now - tonumber(at[5] or now)))}
