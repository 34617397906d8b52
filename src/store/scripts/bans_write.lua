-- Replaces a jail's list of bans with one that was written under another key, with the events of what has changed.
-- KEYS[1] lease, KEYS[2] the new list (none if it is empty), KEYS[3] the list, KEYS[4] what is known about it
-- KEYS[5] events, KEYS[6] names of all lists, KEYS[7] notes of what was banned and unbanned
-- ARGV[1] owner|epoch, ARGV[2] currently banned, ARGV[3] total banned when it was read
-- ARGV[4] how many events are kept, ARGV[5] the server's name, ARGV[6] the list's name
-- ARGV[7] how many bans the new list has, ARGV[8] the prefix lengths of the networks in it, ARGV[9] what it weighs
-- ARGV[10] its tag, or nothing
-- ARGV[11] how many notes the events are about, ARGV[12...] those notes, then kind and facts of each event
-- Returns 1, or the error FENCED, or the error CONFLICT if some of the new list is missing: it was written to a Redis that was
-- replaced before it had replicated it
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  redis.call('UNLINK', KEYS[2])
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
if redis.call('ZCARD', KEYS[2]) ~= tonumber(ARGV[7]) then
  redis.call('UNLINK', KEYS[2])
  return redis.error_reply('CONFLICT some of the new list of bans is missing')
end
redis.call('UNLINK', KEYS[3])
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('RENAME', KEYS[2], KEYS[3])
  redis.call('PERSIST', KEYS[3])
end
local notes = tonumber(ARGV[11])
for i = 12, 11 + notes do
  redis.call('SREM', KEYS[7], ARGV[i])
end
for i = 12 + notes, #ARGV, 2 do
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[4], '*', 'type', ARGV[i], 'server', ARGV[5], 'facts', ARGV[i + 1])
end
redis.call('SADD', KEYS[6], ARGV[6])
local time = redis.call('TIME')
local read_at = string.format('%.0f', time[1] * 1000000 + time[2])
-- A worker that knows nothing of lengths, weights or tags leaves them as they are, so they say of which list they are.
redis.call('HSET', KEYS[4], 'counts', ARGV[2] .. ' ' .. ARGV[3], 'read_at', read_at,
  'lengths', ARGV[8], 'lengths_of', read_at, 'weight', ARGV[9] .. ' ' .. read_at, 'tag', ARGV[10] .. ' ' .. read_at)
return 1
