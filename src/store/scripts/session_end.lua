-- Ends one session of a user.
-- KEYS[1] session, KEYS[2] the user's index of sessions
-- ARGV[1] id, ARGV[2] '1' if the session is known to be this user's, whatever the index says
-- Returns 1 ended, 0 this user has no such session
local indexed = redis.call('SREM', KEYS[2], ARGV[1]) == 1
if not indexed and ARGV[2] ~= '1' then return 0 end
return redis.call('DEL', KEYS[1])
