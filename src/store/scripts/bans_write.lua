-- Puts a list of bans that was written beside in the place of the one there was, with the events of what has changed.
-- KEYS[1] lease, KEYS[2] the new list (none if it is empty), KEYS[3] the list, KEYS[4] what is known of it
-- KEYS[5] events, KEYS[6] names of all lists, KEYS[7] notes of what was banned and unbanned
-- ARGV[1] owner|epoch, ARGV[2] currently banned, ARGV[3] total banned when it was read
-- ARGV[4] how many events are kept, ARGV[5] the server's name, ARGV[6] the list's name
-- ARGV[7] the prefix lengths of the networks in it, ARGV[8] how many notes the events tell of, ARGV[9...] those notes, then kind
-- and facts of each event
-- Returns 1, or the error FENCED
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  redis.call('UNLINK', KEYS[2])
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
redis.call('UNLINK', KEYS[3])
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('RENAME', KEYS[2], KEYS[3])
  redis.call('PERSIST', KEYS[3])
end
local notes = tonumber(ARGV[8])
for i = 9, 8 + notes do
  redis.call('SREM', KEYS[7], ARGV[i])
end
for i = 9 + notes, #ARGV, 2 do
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[4], '*', 'type', ARGV[i], 'server', ARGV[5], 'facts', ARGV[i + 1])
end
redis.call('SADD', KEYS[6], ARGV[6])
local time = redis.call('TIME')
local read_at = string.format('%.0f', time[1] * 1000000 + time[2])
-- A worker that knows nothing of lengths leaves them as they are, so they say of which list they are.
redis.call('HSET', KEYS[4], 'counts', ARGV[2] .. ' ' .. ARGV[3], 'read_at', read_at,
  'lengths', ARGV[7], 'lengths_of', read_at)
return 1
