-- Uses a passkey for a login, if the account's passkeys are still those that were read: what became of their counters is written, so that
-- no copy with an older counter is accepted after it. A login that waits for it is over with it.
-- KEYS[1] account, KEYS[2] generation, KEYS[3] the waiting login, if there is one
-- ARGV[1] id of the account, ARGV[2] generation that was read, ARGV[3] the passkeys as they were read, ARGV[4] as they become
-- Returns 1 used, 0 the login is over, -1 the passkeys were changed, and nothing else was
local read = redis.call('HMGET', KEYS[1], 'password_hash', 'id', 'disabled', 'factor_passkeys')
local is_same = read[1] and (read[2] or 'admin') == ARGV[1] and not read[3]
if not is_same or (redis.call('GET', KEYS[2]) or '0') ~= ARGV[2] then return 0 end
if KEYS[3] and redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
if read[4] ~= ARGV[3] then return -1 end
redis.call('HSET', KEYS[1], 'factor_passkeys', ARGV[4])
if KEYS[3] then redis.call('DEL', KEYS[3]) end
return 1
