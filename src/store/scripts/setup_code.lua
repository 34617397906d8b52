-- Agrees on one setup code for the whole installation: the first one that is offered, for as long as it is valid.
-- KEYS[1] account, KEYS[2] setup code
-- ARGV[1] the code offered, ARGV[2] for how many seconds one is valid
-- Returns the installation's code, or false after setup
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'EX', ARGV[2]) and redis.call('PTTL', KEYS[2]) == -1 then
  -- Made by an older version, whose codes did not expire.
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
return redis.call('GET', KEYS[2])
