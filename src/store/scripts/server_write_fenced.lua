-- Writes a server's state for the leader: only while it holds the lease, and only if the revision is still the one that was
-- read. An absent lease refuses too: nobody may write on schedule without one.
-- KEYS[1] lease, KEYS[2] server, KEYS[3] events, KEYS[4] counts per hour
-- ARGV[1] owner|epoch, ARGV[2] revision read, ARGV[3] state, ARGV[4] the state with all jails, if that is another one
-- ARGV[5] how many events are kept, ARGV[6] the server's name, ARGV[7] how long counts per hour are kept, in s, ARGV[8] how many
-- of their fields change, ARGV[9...] name and value of each (empty to delete it), then kind and facts of each event
-- Returns the new revision, or the errors FENCED, CONFLICT
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
if (redis.call('HGET', KEYS[2], 'revision') or '0') ~= ARGV[2] then
  return redis.error_reply('CONFLICT the state was written by another since')
end
redis.call('HSET', KEYS[2], 'state', ARGV[3])
local fields = 8 + 2 * tonumber(ARGV[8])
for i = 9, fields, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[4], ARGV[i])
  else
    redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1])
  end
end
if fields > 8 then redis.call('EXPIRE', KEYS[4], ARGV[7]) end
for i = fields + 1, #ARGV, 2 do
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 'type', ARGV[i], 'server', ARGV[6], 'facts', ARGV[i + 1])
end
local revision = redis.call('HINCRBY', KEYS[2], 'revision', 1)
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[2], 'full_state', 'full_revision')
else
  redis.call('HSET', KEYS[2], 'full_state', ARGV[4], 'full_revision', revision)
end
return revision
