-- Creates the account of an invitation with its audit entry, once, for the worker that asks first.
-- The generations begin with the time, not with 1: what is left of an account that was deleted never fits them.
-- KEYS[1] invitation, KEYS[2] all of them, KEYS[3] account, KEYS[4] generation, KEYS[5] generation of tokens, KEYS[6] all accounts
-- KEYS[7] other accounts than the admin's that may do everything, KEYS[8] account that has invited, KEYS[9] generation of its tokens
-- KEYS[10] audit, KEYS[11] its chain
-- ARGV[1] id of the invitation, ARGV[2] password hash, ARGV[3] id for the account
-- ARGV[4] a mark that stays until the replicas have confirmed it, or '', ARGV[5] to ARGV[9] name, role, servers, name and id of the
--   account that has invited, as they were read, ARGV[10...] the audit entry
-- Returns 1 created, or, with nothing changed, 0 there is no such invitation any more, -1 there is an account of that name, -2 the
--   account that has invited may not do that any more, or once could not since, -3 the id is taken
local read = redis.call('HMGET', KEYS[1], 'username', 'role', 'servers', 'by', 'by_id', 'by_generation')
for i = 1, 5 do
  if read[i] ~= ARGV[4 + i] then return 0 end
end
if redis.call('EXISTS', KEYS[3]) == 1 then return -1 end
local by = redis.call('HMGET', KEYS[8], 'password_hash', 'id', 'role', 'servers', 'disabled')
local may = by[1] and (by[2] or 'admin') == read[5] and (by[3] or 'admin') == 'admin' and (by[4] or '') == '' and not by[5]
-- Disabled and enabled again: what it may do now does not bring back what it did before.
if not may or read[6] ~= (redis.call('GET', KEYS[9]) or '0') then return -2 end
if redis.call('EXISTS', KEYS[4]) == 1 then return -3 end
local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', time[2])
redis.call('HSET', KEYS[3], 'id', ARGV[3], 'password_hash', ARGV[2], 'role', read[2], 'servers', read[3], 'created_at', now,
  'created_by', read[4])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[3], 'unconfirmed', ARGV[4]) end
redis.call('SET', KEYS[4], now)
redis.call('SET', KEYS[5], now)
redis.call('ZADD', KEYS[6], 0, read[1], 0, 'admin')
if read[2] == 'admin' and read[3] == '' then redis.call('SADD', KEYS[7], read[1]) end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
append_audit(KEYS[10], KEYS[11], 10, #ARGV)
return 1
