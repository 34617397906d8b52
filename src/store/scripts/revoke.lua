-- Ends sessions, takes the next number for it, and tells all near caches: every revocation is this one script.
-- Another run_id than the one stored means that this Redis may have forgotten holders: none is kept, and for a while every
-- revocation is told to wait a whole lease.
-- KEYS[1] revocations, KEYS[2] holders, KEYS[3] generation, KEYS[4] index of sessions, KEYS[5] account, KEYS[6] setup code
-- KEYS[7] the session to end or to keep, if any
-- ARGV[1] 'one', 'known' (this user's whatever the index says), 'all' or 'password', ARGV[2] id of that session, or ''
-- ARGV[3] channel, ARGV[4] us for which a new incarnation waits whole leases
-- ARGV[5] the hash that was verified, or '' to set it whatever it was, ARGV[6] the new hash
-- Returns {1 done or 0 no such session, number, 1 to wait a whole lease, holders...}, or {-1} the password is another one and
-- nothing changed
if ARGV[1] == 'password' then
  if ARGV[5] ~= '' and redis.call('HGET', KEYS[5], 'password_hash') ~= ARGV[5] then return {-1} end
  redis.call('HSET', KEYS[5], 'password_hash', ARGV[6])
  redis.call('DEL', KEYS[6])
end
local done, what = 1, 'all'
if ARGV[1] == 'one' or ARGV[1] == 'known' then
  what = ARGV[2]
  local indexed = redis.call('SREM', KEYS[4], ARGV[2]) == 1
  done = 0
  if indexed or ARGV[1] == 'known' then done = redis.call('DEL', KEYS[7]) end
else
  local generation = redis.call('INCR', KEYS[3])
  local kept = ARGV[2] ~= '' and redis.call('SISMEMBER', KEYS[4], ARGV[2]) == 1
  redis.call('UNLINK', KEYS[4])
  if kept and redis.call('EXISTS', KEYS[7]) == 1 then
    redis.call('SETRANGE', KEYS[7], 8, struct.pack('>I8', generation))
    redis.call('SADD', KEYS[4], ARGV[2])
  end
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local incarnation = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'since', 'number')
local since = tonumber(known[2] or now)
if known[1] ~= incarnation then
  since = now
  redis.call('HSET', KEYS[1], 'incarnation', incarnation, 'since', string.format('%.0f', since))
  redis.call('DEL', KEYS[2])
end
local previous = known[3] or '0'
local number = string.format('%.0f', math.max(tonumber(previous) + 1, now))
redis.call('HSET', KEYS[1], 'number', number)
redis.call('PUBLISH', ARGV[3], incarnation .. '|' .. previous .. '|' .. number .. '|' .. what)
local answer = {done, number, 0}
if now - since < tonumber(ARGV[4]) then answer[3] = 1 end
local holders = redis.call('HGETALL', KEYS[2])
for i = 1, #holders, 2 do
  if holders[i + 1] == 'left' then redis.call('HDEL', KEYS[2], holders[i]) else answer[#answer + 1] = holders[i] end
end
return answer
