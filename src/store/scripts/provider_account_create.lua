-- Creates the account of a provider's user with its audit entry, once, for the worker that asks first.
-- The generations begin with the time, as those of invited accounts do.
-- KEYS[1] what is known of the user, KEYS[2] account, KEYS[3] generation, KEYS[4] generation of tokens, KEYS[5] all accounts
-- KEYS[6] other accounts than the admin's that may do everything, KEYS[7] audit, KEYS[8] its chain
-- ARGV[1] what was read of KEYS[1], or '', ARGV[2] what it becomes, ARGV[3] a hash that no password matches, ARGV[4] id for the account
-- ARGV[5] a mark that stays until the replicas have confirmed it, or '', ARGV[6] to ARGV[10] name, role, servers, issuer, subject
-- ARGV[11...] the audit entry
-- Returns 1 created, or, with nothing changed, 0 somebody else was faster, -1 there is an account of that name, -3 the id is taken
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
-- `admin` is there from the setup on; before it, the name is not free either.
if ARGV[6] == 'admin' or redis.call('EXISTS', KEYS[2]) == 1 then return -1 end
if redis.call('EXISTS', KEYS[3]) == 1 then return -3 end
local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', time[2])
redis.call('HSET', KEYS[2], 'id', ARGV[4], 'password_hash', ARGV[3], 'role', ARGV[7], 'servers', ARGV[8], 'created_at', now,
  'issuer', ARGV[9], 'subject', ARGV[10])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], 'unconfirmed', ARGV[5]) end
redis.call('SET', KEYS[3], now)
redis.call('SET', KEYS[4], now)
redis.call('SET', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[5], 0, ARGV[6], 0, 'admin')
if ARGV[7] == 'admin' and ARGV[8] == '' then redis.call('SADD', KEYS[6], ARGV[6]) end
append_audit(KEYS[7], KEYS[8], 11, #ARGV)
return 1
