-- Records, with an audit entry, that the user of a session has just confirmed the password: for a while, and never for longer
-- than the session lives. Sensitive changes ask for this record; session checks do not read it.
-- KEYS[1] session, KEYS[2] confirmation, KEYS[3] audit, KEYS[4] its chain
-- ARGV[1] ms for which it is valid, ARGV[2...] the audit entry
-- Returns 1 recorded, 0 the session is gone and nothing changed
local left = redis.call('PTTL', KEYS[1])
if left <= 0 then return 0 end
redis.call('SET', KEYS[2], '', 'PX', string.format('%.0f', math.min(tonumber(ARGV[1]), left)))
append_audit(KEYS[3], KEYS[4], 2, #ARGV)
return 1
