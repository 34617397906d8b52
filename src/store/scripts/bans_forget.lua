-- Deletes the list of bans of a jail that is gone.
-- KEYS[1] lease, KEYS[2] the list, KEYS[3] what is known about it, KEYS[4] names of all lists, KEYS[5] notes about it
-- ARGV[1] owner|epoch, ARGV[2] its name
-- Returns 1, or the error FENCED
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[5])
redis.call('SREM', KEYS[4], ARGV[2])
return 1
