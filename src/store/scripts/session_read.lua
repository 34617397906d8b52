-- Reads a session for a near cache: its value and its remaining life at one moment.
-- KEYS[1] generation, KEYS[2] session
-- ARGV[1] the incarnation that the near cache has joined
-- Returns {generation, value, ms that are left}; the first two may be nil, and no ms are left to a near cache that has joined
-- another Redis than this one: what is read here may be older than the revocations it knows
local value = redis.call('GET', KEYS[2])
if not value then return {false, false, 0} end
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or '?'
local left = string.sub(ARGV[1], 1, #run_id) == run_id and redis.call('PTTL', KEYS[2]) or 0
return {redis.call('GET', KEYS[1]), value, left}
