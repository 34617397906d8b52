-- Writes a server's state on behalf of the scheduler: only while it holds the lease, and only if the revision is
-- still the one that was read. An absent lease refuses too: nobody may write on schedule without one.
-- KEYS[1] lease, KEYS[2] server, KEYS[3] events
-- ARGV[1] owner|epoch, ARGV[2] revision read, ARGV[3] state, ARGV[4] how many events are kept
-- ARGV[5] the server's name, ARGV[6...] kind and facts of each event
-- Returns the new revision, or the errors FENCED, CONFLICT
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
if (redis.call('HGET', KEYS[2], 'revision') or '0') ~= ARGV[2] then
  return redis.error_reply('CONFLICT the state was written by another since')
end
redis.call('HSET', KEYS[2], 'state', ARGV[3])
for i = 6, #ARGV, 2 do
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'type', ARGV[i], 'server', ARGV[5], 'facts', ARGV[i + 1])
end
return redis.call('HINCRBY', KEYS[2], 'revision', 1)
