-- Uses a second factor for a login that waits for it, once: a step of an app that is not newer than the last one, and a recovery code
-- that was used, are wrong, whichever worker is asked. The login is over with the first right code, with the last wrong one, and once
-- all sessions of the account were revoked.
-- The value of a waiting login begins with a digit, the number of wrong codes.
-- KEYS[1] the waiting login, KEYS[2] account, KEYS[3] generation
-- ARGV[1] generation of the login, ARGV[2] id of the account, ARGV[3] 'app', 'recovery', or 'wrong' for a code that fits nothing
-- ARGV[4] the app's secret or the recovery code's hash, ARGV[5] the step, ARGV[6] how many wrong codes end the login
-- Returns 1 used, 0 the login is over already, -1 the code is wrong, -2 it is wrong, and the last one: the login is over
local kept = redis.call('GETRANGE', KEYS[1], 0, 0)
if kept == '' then return 0 end
local read = redis.call('HMGET', KEYS[2], 'password_hash', 'id', 'disabled', 'factor_app', 'factor_app_step', 'factor_recovery')
local is_same = read[1] and (read[2] or 'admin') == ARGV[2] and not read[3]
if not is_same or (redis.call('GET', KEYS[3]) or '0') ~= ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 0
end
local right = false
if ARGV[3] == 'app' then
  right = read[4] == ARGV[4] and tonumber(ARGV[5]) > tonumber(read[5] or '0')
  if right then redis.call('HSET', KEYS[2], 'factor_app_step', ARGV[5]) end
elseif ARGV[3] == 'recovery' then
  local left = {}
  for hash in string.gmatch(read[6] or '', '%S+') do
    if hash == ARGV[4] then right = true else left[#left + 1] = hash end
  end
  if right then redis.call('HSET', KEYS[2], 'factor_recovery', table.concat(left, ' ')) end
end
if right then
  redis.call('DEL', KEYS[1])
  return 1
end
local wrong = tonumber(kept) + 1
if wrong >= tonumber(ARGV[6]) then
  redis.call('DEL', KEYS[1])
  return -2
end
redis.call('SETRANGE', KEYS[1], 0, string.format('%d', wrong))
return -1
