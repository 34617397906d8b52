-- Leaves the mark of a logout at the provider, for logins in flight.
-- KEYS[1] sessions of the session there, KEYS[2] mark of the logout
-- ARGV[1] when the provider said so, in seconds since 1970, ARGV[2] ms for which the mark is kept
-- Returns the sessions that are noted
local before = tonumber(redis.call('GET', KEYS[2]) or '0')
redis.call('SET', KEYS[2], string.format('%.0f', math.max(before, tonumber(ARGV[1]))), 'PX', ARGV[2])
return redis.call('SMEMBERS', KEYS[1])
