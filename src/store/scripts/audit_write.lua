-- Writes an audit entry by itself, for what changes nothing else in Redis.
-- KEYS[1] audit, KEYS[2] its chain
-- ARGV[1...] the audit entry
-- Returns the entry's id
return append_audit(KEYS[1], KEYS[2], 1, #ARGV)
