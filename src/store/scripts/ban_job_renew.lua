-- Extends a claim of a ban job, and records its progress, if given.
-- KEYS[1] job, KEYS[2] its failures
-- ARGV[1] owner|epoch, ARGV[2] state it must have, ARGV[3] how long the claim lives without a renewal, in ms
-- ARGV[4] asked, ARGV[5] done, ARGV[6] changed, ARGV[7] failed, ARGV[8] how many failures are kept
-- ARGV[9...] address and reason of each failure
-- Returns 1, or 0 if the claim is lost
local job = redis.call('HMGET', KEYS[1], 'state', 'owner', 'epoch')
if job[1] ~= ARGV[2] or (job[2] or '') .. '|' .. (job[3] or '') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ARGV[3]))
if #ARGV == 3 then return 1 end
redis.call('HSET', KEYS[1], 'asked', ARGV[4], 'done', ARGV[5], 'changed', ARGV[6], 'failed', ARGV[7],
  'moved_at', string.format('%.0f', now))
redis.call('HDEL', KEYS[1], 'trouble')
for i = 9, #ARGV, 2 do
  if redis.call('HLEN', KEYS[2]) < tonumber(ARGV[8]) then redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
return 1
