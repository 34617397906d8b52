-- Writes a token for programs with its audit entry, unless all tokens of its owner have ended since the account was read, or the session
-- that asks for it has ended: a request in flight leaves nothing that outlives it.
-- KEYS[1] token, KEYS[2] index of tokens, KEYS[3] generation of tokens, KEYS[4] account, KEYS[5] session that asks, KEYS[6] generation of
--   sessions, KEYS[7] audit, KEYS[8] its chain
-- ARGV[1] id of the token, ARGV[2] generation that was read, ARGV[3] value, ARGV[4] when it ends, in ms since 1970
-- ARGV[5] how many an account may have, ARGV[6] id of the account, ARGV[7...] the audit entry
-- Returns 1 written, or, with nothing changed, 0 the account has another generation, or is gone, or the session is, -1 it has too many
if redis.call('EXISTS', KEYS[4]) == 0 or (redis.call('HGET', KEYS[4], 'id') or 'admin') ~= ARGV[6] then return 0 end
if (redis.call('GET', KEYS[3]) or '0') ~= ARGV[2] then return 0 end
local asks = redis.call('GETRANGE', KEYS[5], 8, 15)
if #asks ~= 8 or string.format('%.0f', struct.unpack('>I8', asks)) ~= redis.call('GET', KEYS[6]) then return 0 end
if #redis.call('SMEMBERS', KEYS[2]) >= tonumber(ARGV[5]) then return -1 end
redis.call('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[4])
redis.call('SADD', KEYS[2], ARGV[1])
append_audit(KEYS[7], KEYS[8], 7, #ARGV)
return 1
