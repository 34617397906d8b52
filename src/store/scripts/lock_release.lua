-- Gives back a short lock, if it is still ours.
-- KEYS[1] lock
-- ARGV[1] our token
-- Returns 1 given back, 0 it had run out
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
