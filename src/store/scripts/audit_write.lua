-- Writes an audit entry that belongs to no other step in Redis.
-- KEYS[1] audit, KEYS[2] its chain
-- ARGV[1...] the audit entry
-- Returns the entry's id
return append_audit(KEYS[1], KEYS[2], 1, #ARGV)
