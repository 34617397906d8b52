-- Notes a session that began with a provider's token, unless what the token rests on has ended at the provider.
-- A session there that ended does not come back. A user may log in again: only tokens from before the logout are refused.
-- KEYS[1] sessions of the session there, or of the user if the token names none, KEYS[2] mark of its logout
-- KEYS[3] mark of the user's logout
-- ARGV[1] the session, ARGV[2] ms for which it is noted, ARGV[3] the most sessions
-- ARGV[4] when the token was issued, in seconds since 1970, ARGV[5] '1' if the token names a session there
-- Returns 1 noted, 0 it has ended
local ended = redis.call('GET', KEYS[3])
if ended and tonumber(ARGV[4]) < tonumber(ended) then return 0 end
if ARGV[5] == '1' and redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if #redis.call('SMEMBERS', KEYS[1]) >= tonumber(ARGV[3]) then redis.call('SPOP', KEYS[1]) end
redis.call('SADD', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
