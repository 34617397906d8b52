-- Ends an invitation, with its audit entry.
-- KEYS[1] invitation, KEYS[2] all of them, KEYS[3] audit, KEYS[4] its chain
-- ARGV[1] id of the invitation, ARGV[2...] the audit entry
-- Returns 1 ended, 0 it was used, has expired or was ended before, and nothing changed
redis.call('SREM', KEYS[2], ARGV[1])
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
append_audit(KEYS[3], KEYS[4], 2, #ARGV)
return 1
