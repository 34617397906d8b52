-- Writes the passkeys of an account with the audit entry, if they are still those that were read and whoever asks, a session or a login
-- that waits for this, is still there. The first factor of an account comes with recovery codes, and with the last one they go; so does
-- the mark before the hash, which keeps versions out that know no second factors.
-- KEYS[1] account, KEYS[2] generation, KEYS[3] the session or the waiting login, KEYS[4] whose the passkey is that is added or removed
-- KEYS[5] audit, KEYS[6] its chain
-- ARGV[1] id of the account, ARGV[2] 'session' or 'login', ARGV[3] generation of that login
-- ARGV[4] the passkeys as they were read, or '', ARGV[5] as they become, or ''
-- ARGV[6] name of the account if one is added, or '', ARGV[7] hashes of recovery codes, for the first factor
-- ARGV[8] a mark that stays until the replicas have confirmed it, or '', ARGV[9...] the audit entry
-- Returns 1 written, 2 written with these recovery codes, or, with nothing changed, 0 whoever asks has ended, or the passkeys were changed,
--   -1 the passkey is known already
local generation = redis.call('GET', KEYS[2])
if ARGV[2] == 'session' then
  local asks = redis.call('GETRANGE', KEYS[3], 8, 15)
  if #asks ~= 8 or string.format('%.0f', struct.unpack('>I8', asks)) ~= generation then return 0 end
else
  if redis.call('EXISTS', KEYS[3]) == 0 or ARGV[3] ~= (generation or '0') then return 0 end
end
local read = redis.call('HMGET', KEYS[1], 'password_hash', 'id', 'factor_app', 'factor_passkeys', 'disabled')
if not read[1] or (read[2] or 'admin') ~= ARGV[1] or (read[4] or '') ~= ARGV[4] then return 0 end
-- The password alone never adds to a factor.
if ARGV[2] == 'login' and (read[3] or read[4] or read[5]) then return 0 end
local done = 1
if ARGV[6] ~= '' then
  if redis.call('EXISTS', KEYS[4]) == 1 then return -1 end
  redis.call('SET', KEYS[4], ARGV[6])
else
  redis.call('DEL', KEYS[4])
end
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'factor_passkeys', ARGV[5])
  if not read[3] and not read[4] then
    local hash = string.gsub(read[1], '^factor:', '')
    redis.call('HSET', KEYS[1], 'factor_recovery', ARGV[7], 'password_hash', 'factor:' .. hash)
    done = 2
  end
else
  redis.call('HDEL', KEYS[1], 'factor_passkeys')
  if not read[3] then
    redis.call('HDEL', KEYS[1], 'factor_recovery')
    redis.call('HSET', KEYS[1], 'password_hash', (string.gsub(read[1], '^factor:', '')))
  end
end
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'unconfirmed', ARGV[8]) end
if ARGV[2] == 'login' then redis.call('DEL', KEYS[3]) end
append_audit(KEYS[5], KEYS[6], 9, #ARGV)
return done
