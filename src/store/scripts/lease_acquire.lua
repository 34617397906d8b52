-- Takes the scheduler's lease if nobody holds it. The epoch grows with every term: over a Redis that lost its data, since it is
-- at least Redis's time; over a clock that was set back too, since it is greater than any that the worker has ever seen.
-- Asking again as the same owner is harmless (the answer may have been lost).
-- KEYS[1] lease, KEYS[2] epoch, KEYS[3] events
-- ARGV[1] owner, ARGV[2] lease TTL in ms, ARGV[3] how many events are kept, ARGV[4] the greatest epoch that the owner has seen
-- Returns {1, epoch, us since 1970, epoch} taken; {0, ms the holder has left, us since 1970, its epoch} held by another
local time = redis.call('TIME')
local us = string.format('%.0f', time[1] * 1000000 + time[2])
local held = redis.call('GET', KEYS[1])
if held then
  local epoch = string.match(held, '|(%d+)$') or '0'
  if string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. '|' then return {0, redis.call('PTTL', KEYS[1]), us, epoch} end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, epoch, us, epoch}
end
local before = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(ARGV[4]))
local epoch = string.format('%.0f', math.max(before + 1, time[1] * 1000 + math.floor(time[2] / 1000)))
redis.call('SET', KEYS[2], epoch)
redis.call('SET', KEYS[1], ARGV[1] .. '|' .. epoch, 'PX', ARGV[2])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'type', 'scheduler.elected',
  'facts', '{"worker":"' .. ARGV[1] .. '","epoch":' .. epoch .. '}')
return {1, epoch, us, epoch}
