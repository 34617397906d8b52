-- Reads a session for a near cache: its value and its remaining life at one moment.
-- KEYS[1] generation, KEYS[2] session
-- ARGV none
-- Returns {generation, value, ms that are left}; the first two may be nil
return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]), redis.call('PTTL', KEYS[2])}
