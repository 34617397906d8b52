-- Takes the lease if nobody holds it, or if the leader that holds it is gone. The epoch grows with every term: even if Redis lost
-- its data, since it is at least Redis's time, and even if that clock was set back, since it is greater than any epoch that the
-- worker has ever seen. Asking again as the same owner is harmless (the answer may have been lost).
-- KEYS[1] lease, KEYS[2] epoch, KEYS[3] events, KEYS[4] watcher
-- ARGV[1] owner, ARGV[2] lease TTL in ms, ARGV[3] how many events are kept, ARGV[4] the greatest epoch that the owner has seen
-- ARGV[5] owner|epoch of the leader that is gone, or nothing, ARGV[6] the channel it would subscribe to, ARGV[7] channel that
--   wakes schedulers
-- Returns {1, epoch, us since 1970, epoch} taken; {0, ms the holder has left, us since 1970, its epoch} held by another
local time = redis.call('TIME')
local us = string.format('%.0f', time[1] * 1000000 + time[2])
local held = redis.call('GET', KEYS[1])
local last = held and string.match(held, '|(%d+)$') or '0'
-- Checked once more, in the step that takes the lease: a leader that has subscribed again keeps it.
local gone = held and held == ARGV[5] and redis.call('PUBSUB', 'NUMSUB', ARGV[6])[2] == 0
if held and not gone then
  if string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. '|' then return {0, redis.call('PTTL', KEYS[1]), us, last} end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, last, us, last}
end
local before = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(ARGV[4]), tonumber(last))
local epoch = string.format('%.0f', math.max(before + 1, time[1] * 1000 + math.floor(time[2] / 1000)))
redis.call('SET', KEYS[2], epoch)
redis.call('SET', KEYS[1], ARGV[1] .. '|' .. epoch, 'PX', ARGV[2])
-- The watcher of the former leader may be the new leader itself: another worker claims the watch.
redis.call('DEL', KEYS[4])
if gone then redis.call('PUBLISH', ARGV[7], 'released') end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'type', 'scheduler.elected',
  'facts', '{"worker":"' .. ARGV[1] .. '","epoch":' .. epoch .. '}')
return {1, epoch, us, epoch}
