-- Confirms the revocations that a holder has applied, and renews its cache lease if there is none it has not applied.
-- KEYS[1] revocations, KEYS[2] holders
-- ARGV[1] id of the holder, ARGV[2] the incarnation it joined, ARGV[3] number of the latest revocation it applied
-- Returns 1 renewed, 0 confirmed but behind, -1 refused: no holder any more, or another incarnation
if string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') ~= ARGV[2] then return -1 end
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'number')
if known[1] ~= ARGV[2] or redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return -1 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
if (known[2] or '0') ~= ARGV[3] then return 0 end
return 1
