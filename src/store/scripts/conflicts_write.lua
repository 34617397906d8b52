-- Writes which names discovery found twice, for the leader: only while it holds the lease.
-- KEYS[1] lease, KEYS[2] discovered
-- ARGV[1] owner|epoch, ARGV[2] conflicts
-- Returns nothing, or the error FENCED
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
redis.call('HSET', KEYS[2], 'conflicts', ARGV[2])
