-- Writes the passkeys of an account with the audit entry, if they are still those that were read and the session that asks is still
-- there. The first factor of an account comes with recovery codes, and with the last one they go; so does the mark before the hash,
-- which keeps versions out that know no second factors.
-- KEYS[1] account, KEYS[2] generation, KEYS[3] session, KEYS[4] whose the passkey is that is added or removed
-- KEYS[5] audit, KEYS[6] its chain
-- ARGV[1] id of the account, ARGV[2] the passkeys as they were read, or '', ARGV[3] as they become, or ''
-- ARGV[4] name of the account if one is added, or '', ARGV[5] hashes of recovery codes, for the first factor
-- ARGV[6] a mark that stays until the replicas have confirmed it, or '', ARGV[7...] the audit entry
-- Returns 1 written, 2 written with these recovery codes, or, with nothing changed, 0 the session has ended, or the passkeys were changed,
--   -1 the passkey is known already
local asks = redis.call('GETRANGE', KEYS[3], 8, 15)
if #asks ~= 8 or string.format('%.0f', struct.unpack('>I8', asks)) ~= redis.call('GET', KEYS[2]) then return 0 end
local read = redis.call('HMGET', KEYS[1], 'password_hash', 'id', 'factor_app', 'factor_passkeys')
if not read[1] or (read[2] or 'admin') ~= ARGV[1] or (read[4] or '') ~= ARGV[2] then return 0 end
local done = 1
if ARGV[4] ~= '' then
  if redis.call('EXISTS', KEYS[4]) == 1 then return -1 end
  redis.call('SET', KEYS[4], ARGV[4])
else
  redis.call('DEL', KEYS[4])
end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], 'factor_passkeys', ARGV[3])
  if not read[3] and not read[4] then
    redis.call('HSET', KEYS[1], 'factor_recovery', ARGV[5], 'password_hash', 'factor:' .. read[1])
    done = 2
  end
else
  redis.call('HDEL', KEYS[1], 'factor_passkeys')
  if not read[3] then
    redis.call('HDEL', KEYS[1], 'factor_recovery')
    redis.call('HSET', KEYS[1], 'password_hash', (string.gsub(read[1], '^factor:', '')))
  end
end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'unconfirmed', ARGV[6]) end
append_audit(KEYS[5], KEYS[6], 7, #ARGV)
return done
