-- Takes what is kept until it is used once. GETDEL does the same, but is a right that users of Redis from before an update lack.
-- KEYS[1] what is kept
-- ARGV none
-- Returns what was kept, or false if nothing is
local kept = redis.call('GET', KEYS[1])
if kept then redis.call('DEL', KEYS[1]) end
return kept
