-- Ends one session of a user.
-- KEYS[1] session, KEYS[2] the user's index of sessions
-- ARGV[1] id
-- Returns 1 ended, 0 this user has no such session
local existed = redis.call('SREM', KEYS[2], ARGV[1]) == 1 and redis.call('DEL', KEYS[1]) == 1
return existed and 1 or 0
