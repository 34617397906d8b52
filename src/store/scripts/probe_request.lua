-- Asks the leader to probe a server at once. The request waits in a set, since a message alone could be lost between two leaders.
-- KEYS[1] probe requests
-- ARGV[1] the server's name, ARGV[2] channel that wakes schedulers
-- Returns 1
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], 'probe')
return 1
