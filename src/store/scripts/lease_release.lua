-- Gives the lease back, if it is this term's, and wakes those who wait for it.
-- KEYS[1] lease
-- ARGV[1] owner|epoch, ARGV[2] channel that wakes schedulers
-- Returns 1 given back, 0 it was not ours any more
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], 'released')
return 1
