-- Writes the overrides of settings if their revision is still the one that was read, with the event and the audit entry
-- that belong to it, and wakes all workers.
-- KEYS[1] settings, KEYS[2] events, KEYS[3] audit, KEYS[4] its chain
-- ARGV[1] revision read, ARGV[2] overrides, ARGV[3] how many events are kept, ARGV[4] facts of the event
-- ARGV[5] channel that wakes workers, ARGV[6...] the audit entry
-- Returns the new revision and the id of the audit entry, or the error CONFLICT
if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[1] then
  return redis.error_reply('CONFLICT the settings were written by another since')
end
redis.call('HSET', KEYS[1], 'overrides', ARGV[2])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'type', 'settings.changed', 'facts', ARGV[4])
local entry = append_audit(KEYS[3], KEYS[4], 6, #ARGV)
redis.call('PUBLISH', ARGV[5], 'settings')
return {redis.call('HINCRBY', KEYS[1], 'revision', 1), entry}
