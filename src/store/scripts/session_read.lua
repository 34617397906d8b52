-- Reads a session for a near cache: its value and its remaining life at one moment.
-- KEYS[1] generation, KEYS[2] session
-- ARGV[1] the incarnation that the near cache has joined
-- Returns {generation, value, ms left}, or the error READONLY of a replica; the first two may be nil, and ms left is 0 for a near
-- cache that has joined another Redis than this one: what is read here may be older than the revocations it knows
if string.find(redis.call('INFO', 'replication'), 'role:slave', 1, true) then
  return redis.error_reply('READONLY sessions are read from the primary')
end
local value = redis.call('GET', KEYS[2])
if not value then return {false, false, 0} end
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or '?'
local left = string.sub(ARGV[1], 1, #run_id) == run_id and redis.call('PTTL', KEYS[2]) or 0
return {redis.call('GET', KEYS[1]), value, left}
