-- Writes a server's state if its revision is still the one that was read, with the events and the audit entry that belong to it.
-- KEYS[1] server, KEYS[2] events, KEYS[3] audit, KEYS[4] its chain
-- ARGV[1] revision read, ARGV[2] state, ARGV[3] the state with all jails, if that is another one
-- ARGV[4] how many events are kept, ARGV[5] the server's name
-- ARGV[6] how many of the next arguments are the audit entry, 0 for none, ARGV[7...] these, then kind and facts of each event
-- Returns the new revision, or the error CONFLICT
if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[1] then
  return redis.error_reply('CONFLICT the state was written by another since')
end
redis.call('HSET', KEYS[1], 'state', ARGV[2])
local events = 7 + ARGV[6]
for i = events, #ARGV, 2 do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'type', ARGV[i], 'server', ARGV[5], 'facts', ARGV[i + 1])
end
if events > 7 then append_audit(KEYS[3], KEYS[4], 7, events - 1) end
local revision = redis.call('HINCRBY', KEYS[1], 'revision', 1)
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], 'full_state', 'full_revision')
else
  redis.call('HSET', KEYS[1], 'full_state', ARGV[3], 'full_revision', revision)
end
return revision
