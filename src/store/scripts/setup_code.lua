-- Agrees on one setup code for the whole cluster: the first one that is offered.
-- KEYS[1] account, KEYS[2] setup code
-- ARGV[1] the code offered
-- Returns the cluster's code, or false after setup
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
redis.call('SET', KEYS[2], ARGV[1], 'NX')
return redis.call('GET', KEYS[2])
