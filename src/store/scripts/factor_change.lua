-- Removes the authenticator app of an account, or gives it other recovery codes, with the audit entry, if the session that asks is
-- still there. With the last factor the recovery codes go, and the mark before the hash.
-- KEYS[1] account, KEYS[2] generation, KEYS[3] session, KEYS[4] audit, KEYS[5] its chain
-- ARGV[1] id of the account, ARGV[2] 'remove-app' or 'recovery', ARGV[3] hashes of the recovery codes, or ''
-- ARGV[4] a mark that stays until the replicas have confirmed it, or '', ARGV[5...] the audit entry
-- Returns 1 changed, or, with nothing changed, 0 the session has ended, -1 there is no such factor, or none that the codes would stand in for
local asks = redis.call('GETRANGE', KEYS[3], 8, 15)
if #asks ~= 8 or string.format('%.0f', struct.unpack('>I8', asks)) ~= redis.call('GET', KEYS[2]) then return 0 end
local read = redis.call('HMGET', KEYS[1], 'password_hash', 'id', 'factor_app', 'factor_passkeys')
if not read[1] or (read[2] or 'admin') ~= ARGV[1] then return 0 end
if ARGV[2] == 'remove-app' then
  if not read[3] then return -1 end
  redis.call('HDEL', KEYS[1], 'factor_app', 'factor_app_since', 'factor_app_step')
  if not read[4] then
    redis.call('HDEL', KEYS[1], 'factor_recovery')
    redis.call('HSET', KEYS[1], 'password_hash', (string.gsub(read[1], '^factor:', '')))
  end
else
  if not read[3] and not read[4] then return -1 end
  redis.call('HSET', KEYS[1], 'factor_recovery', ARGV[3])
end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'unconfirmed', ARGV[4]) end
append_audit(KEYS[4], KEYS[5], 5, #ARGV)
return 1
