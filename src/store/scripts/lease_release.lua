-- Releases the lease, if it is this term's, and wakes the workers that wait for it.
-- KEYS[1] lease
-- ARGV[1] owner|epoch, ARGV[2] channel that wakes schedulers
-- Returns 1 released, 0 it was no longer this term's
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], 'released')
return 1
