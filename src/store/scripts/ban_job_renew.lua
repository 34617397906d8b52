-- Renews the claim of a ban job, and saves the job's progress, if that is given.
-- KEYS[1] job, KEYS[2] its failures, KEYS[3] the addresses that it has changed, for its undo
-- ARGV[1] owner|epoch, ARGV[2] state it must have, ARGV[3] how long the claim lives without a renewal, in ms
-- ARGV[4] asked, ARGV[5] done, ARGV[6] changed, ARGV[7] failed, ARGV[8] how many failures are kept
-- ARGV[9] addresses changed since the last call, one a line, ARGV[10] how many, ARGV[11] how many the job keeps in all
-- ARGV[12] how long they are kept, in s, ARGV[13...] address and reason of each failure
-- Returns 1, or 0 if the claim is lost
local job = redis.call('HMGET', KEYS[1], 'state', 'owner', 'epoch')
if job[1] ~= ARGV[2] or (job[2] or '') .. '|' .. (job[3] or '') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ARGV[3]))
if #ARGV == 3 then return 1 end
-- The same progress was saved before, and the answer was lost: the addresses are there already.
local before = redis.call('HMGET', KEYS[1], 'done', 'undo_count', 'undo_bytes')
local kept = tonumber(before[2] or '0') + ARGV[10]
if ARGV[9] ~= '' and before[1] ~= ARGV[5] and kept <= tonumber(ARGV[11]) then
  local at = tonumber(before[3] or '0')
  redis.call('SETRANGE', KEYS[3], string.format('%.0f', at), ARGV[9])
  redis.call('EXPIRE', KEYS[3], ARGV[12])
  redis.call('HSET', KEYS[1], 'undo_count', string.format('%.0f', kept), 'undo_bytes', string.format('%.0f', at + #ARGV[9]))
end
redis.call('HSET', KEYS[1], 'asked', ARGV[4], 'done', ARGV[5], 'changed', ARGV[6], 'failed', ARGV[7],
  'moved_at', string.format('%.0f', now))
redis.call('HDEL', KEYS[1], 'trouble')
for i = 13, #ARGV, 2 do
  if redis.call('HLEN', KEYS[2]) < tonumber(ARGV[8]) then redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
return 1
