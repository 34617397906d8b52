-- Creates the admin's account with its audit entry, once in the life of the installation, for the worker that asks first.
-- KEYS[1] account, KEYS[2] generation, KEYS[3] setup code, KEYS[4] audit, KEYS[5] its chain
-- ARGV[1] password hash, ARGV[2] a mark that stays until the replicas have confirmed it, or ''
-- ARGV[3...] the audit entry
-- Returns 1 created, 0 there is one already and nothing changed
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'password_hash', ARGV[1], 'created_at', time[1] .. string.format('%06d', time[2]))
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'unconfirmed', ARGV[2]) end
redis.call('INCR', KEYS[2])
redis.call('DEL', KEYS[3])
append_audit(KEYS[4], KEYS[5], 3, #ARGV)
return 1
