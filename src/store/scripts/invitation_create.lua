-- Writes an invitation with its audit entry.
-- It remembers the generation of the inviting account's tokens, which counts the changes of what that account may do.
-- KEYS[1] invitation, KEYS[2] all of them, KEYS[3] account of the name that is invited, KEYS[4] generation of tokens of the inviting
--   account, KEYS[5] audit, KEYS[6] its chain
-- ARGV[1] id of the invitation, ARGV[2] seconds for which it is valid, ARGV[3] how many there may be
-- ARGV[4] name, ARGV[5] role, ARGV[6] servers, ARGV[7] name of the inviting account, ARGV[8] its id
-- ARGV[9...] the audit entry
-- Returns 1 written, or, with nothing changed, 0 there is an account of that name, -1 there are too many invitations
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
if #redis.call('SMEMBERS', KEYS[2]) >= tonumber(ARGV[3]) then return -1 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'username', ARGV[4], 'role', ARGV[5], 'servers', ARGV[6], 'by', ARGV[7], 'by_id', ARGV[8],
  'by_generation', redis.call('GET', KEYS[4]) or '0', 'created_at', time[1] .. string.format('%06d', time[2]))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
append_audit(KEYS[5], KEYS[6], 9, #ARGV)
return 1
