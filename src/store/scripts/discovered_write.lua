-- Writes which servers are discovered, with the events of the change, for the leader: only while it holds the lease, and only if
-- the revision is still the one that was read. Deletes in the same step what was kept for servers that are gone for good.
-- KEYS[1] lease, KEYS[2] discovered, KEYS[3] events, KEYS[4...] what is to be deleted
-- ARGV[1] owner|epoch, ARGV[2] revision read, ARGV[3] servers, ARGV[4] channel that wakes workers
-- ARGV[5] how many events are kept, ARGV[6...] server, kind and facts of each event
-- Returns the new revision, or the errors FENCED, CONFLICT
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
if (redis.call('HGET', KEYS[2], 'revision') or '0') ~= ARGV[2] then
  return redis.error_reply('CONFLICT the servers were written by another since')
end
redis.call('HSET', KEYS[2], 'servers', ARGV[3])
for i = 4, #KEYS do redis.call('UNLINK', KEYS[i]) end
for i = 6, #ARGV, 3 do
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*',
    'type', ARGV[i + 1], 'server', ARGV[i], 'facts', ARGV[i + 2])
end
redis.call('PUBLISH', ARGV[4], 'servers')
return redis.call('HINCRBY', KEYS[2], 'revision', 1)
