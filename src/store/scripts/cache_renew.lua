-- Confirms the revocations that a holder has applied, and renews its cache lease if it has applied all of them.
-- It always writes: only a Redis that takes writes, whose revocations reach the holder, may grant a lease.
-- KEYS[1] holders
-- ARGV[1] id of the holder, ARGV[2] the incarnation it joined, ARGV[3] number of the latest revocation it applied
-- Returns 1 renewed, 0 confirmed but not renewed, -1 it is no holder: it was removed, or joined another incarnation
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or '?'
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'number', ARGV[1])
if known[1] ~= ARGV[2] or string.sub(ARGV[2], 1, #run_id) ~= run_id or not known[3] then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if known[2] ~= ARGV[3] then return 0 end
return 1
