-- Sets the authenticator app of an account, in place of the one before, with new recovery codes and its audit entry: if whoever asks,
-- a session or a login that waits for this, is still there, and the secret is the one that was proposed to it.
-- The step of the first code counts as used. The mark before the hash is what keeps versions out that know no second factors.
-- KEYS[1] account, KEYS[2] generation, KEYS[3] the session or the waiting login, KEYS[4] the proposed secret
-- KEYS[5] audit, KEYS[6] its chain
-- ARGV[1] id of the account, ARGV[2] 'session' or 'login', ARGV[3] generation of that login, ARGV[4] secret, ARGV[5] step
-- ARGV[6] hashes of the recovery codes, ARGV[7] a mark that stays until the replicas have confirmed it, or ''
-- ARGV[8...] the audit entry
-- Returns 1 set, or, with nothing changed, 0 whoever asks has ended, or another secret was proposed since
local generation = redis.call('GET', KEYS[2])
if ARGV[2] == 'session' then
  local asks = redis.call('GETRANGE', KEYS[3], 8, 15)
  if #asks ~= 8 or string.format('%.0f', struct.unpack('>I8', asks)) ~= generation then return 0 end
else
  if redis.call('EXISTS', KEYS[3]) == 0 or ARGV[3] ~= (generation or '0') then return 0 end
end
local read = redis.call('HMGET', KEYS[1], 'password_hash', 'id', 'disabled', 'factor_app', 'factor_passkeys')
if not read[1] or (read[2] or 'admin') ~= ARGV[1] or read[3] then return 0 end
-- The password alone never replaces a factor.
if ARGV[2] == 'login' and (read[4] or read[5]) then return 0 end
if redis.call('GET', KEYS[4]) ~= ARGV[4] then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'factor_app', ARGV[4], 'factor_app_step', ARGV[5], 'factor_recovery', ARGV[6],
  'factor_app_since', time[1] .. string.format('%06d', time[2]))
if string.sub(read[1], 1, 7) ~= 'factor:' then redis.call('HSET', KEYS[1], 'password_hash', 'factor:' .. read[1]) end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'unconfirmed', ARGV[7]) end
redis.call('DEL', KEYS[4])
if ARGV[2] == 'login' then redis.call('DEL', KEYS[3]) end
append_audit(KEYS[5], KEYS[6], 8, #ARGV)
return 1
