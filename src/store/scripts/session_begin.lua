-- Begins a session, with its audit entry, unless all of the user's sessions were revoked after the login had read the account, or the
-- account has a second factor that the login has not shown: it may have been set up since.
-- KEYS[1] session, KEYS[2] index of sessions, KEYS[3] generation, KEYS[4] user agent, KEYS[5] account, KEYS[6] audit, KEYS[7] its chain
-- ARGV[1] generation that the login read, ARGV[2] value, ARGV[3] idle ms, ARGV[4] absolute end in ms since 1970
-- ARGV[5] id, ARGV[6] text of the user agent, ARGV[7] ms for which that text must be kept
-- ARGV[8] which second factor was shown, or '', ARGV[9...] the audit entry
-- Returns 1 begun, 0 there is a newer generation, or a second factor is missing, and nothing changed
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
local factors = redis.call('HMGET', KEYS[5], 'factor_app', 'factor_passkeys')
if ARGV[8] == '' and (factors[1] or factors[2]) then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', string.format('%.0f', math.min(now + ARGV[3], tonumber(ARGV[4]))))
redis.call('SADD', KEYS[2], ARGV[5])
if redis.call('PTTL', KEYS[4]) < tonumber(ARGV[7]) then redis.call('SET', KEYS[4], ARGV[6], 'PX', ARGV[7]) end
append_audit(KEYS[6], KEYS[7], 9, #ARGV)
return 1
