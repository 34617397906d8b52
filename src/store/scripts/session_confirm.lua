-- Notes with its audit entry that the user of a session has just proven the password, for a while and not for longer than the
-- session lives. What is sensitive asks for this note; no check of a session reads it.
-- KEYS[1] session, KEYS[2] confirmation, KEYS[3] audit, KEYS[4] its chain
-- ARGV[1] ms that it is good for, ARGV[2...] the audit entry
-- Returns 1 noted, 0 the session is gone and nothing changed
local left = redis.call('PTTL', KEYS[1])
if left <= 0 then return 0 end
redis.call('SET', KEYS[2], '', 'PX', string.format('%.0f', math.min(tonumber(ARGV[1]), left)))
append_audit(KEYS[3], KEYS[4], 2, #ARGV)
return 1
