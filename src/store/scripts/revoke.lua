-- Ends sessions, gives the revocation the next number, and notifies all near caches: every revocation is this one script.
-- If the incarnation has another run_id than this Redis, or if there is none, Redis may have forgotten holders that still answer.
-- Then none is kept, and each revocation waits for a whole lease until one has passed.
-- What the Redis user may lack the right to do comes before the first write, and the number before the message: if the script
-- breaks off half way, no holder continues as if nothing had happened.
-- KEYS[1] holders, KEYS[2] generation, KEYS[3] index of sessions, KEYS[4] account, KEYS[5] setup code, KEYS[6] audit
-- KEYS[7] its chain, KEYS[8] the session to end or to keep, if any, KEYS[9] the one that takes its place, if it is renewed
-- ARGV[1] 'one', 'known' (ends it even if the index does not list it), 'all', 'password', or 'none' to find out which holders
--   are left
-- ARGV[2] id of that session, or '', ARGV[3] channel, ARGV[4] random, for an incarnation
-- ARGV[5] the hash that was verified, or '' to set it whatever it was, ARGV[6] the new hash
-- ARGV[7] a mark that stays with it until the replicas have confirmed it, or ''
-- ARGV[8] id of the session that takes the kept one's place, or '', ARGV[9...] the audit entry, if there is to be one
-- Returns {1 done, 2 done and a session was kept, or 0 no such session; incarnation; number; 1 settled, or 0 a whole lease must
--   be waited; holders...}, or {-1}: the password is another one and nothing changed
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or '?'
local time = redis.call('TIME')
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'number', 'unsettled')
local incarnation, previous, settled = known[1], known[2] or '0', known[3] and 0 or 1
local done, what = 1, 'all'
if ARGV[1] == 'password' then
  if ARGV[5] ~= '' and redis.call('HGET', KEYS[4], 'password_hash') ~= ARGV[5] then return {-1} end
  redis.call('HSET', KEYS[4], 'password_hash', ARGV[6])
  if ARGV[7] ~= '' then redis.call('HSET', KEYS[4], 'unconfirmed', ARGV[7]) end
  redis.call('DEL', KEYS[5])
end
if ARGV[1] == 'one' or ARGV[1] == 'known' then
  what = ARGV[2]
  local indexed = redis.call('SREM', KEYS[3], ARGV[2]) == 1
  done = 0
  if indexed or ARGV[1] == 'known' then done = redis.call('DEL', KEYS[8]) end
elseif ARGV[1] == 'none' then
  what = 'none'
else
  local generation = redis.call('INCR', KEYS[2])
  local kept = ARGV[2] ~= '' and redis.call('SISMEMBER', KEYS[3], ARGV[2]) == 1
  redis.call('UNLINK', KEYS[3])
  if kept and redis.call('EXISTS', KEYS[8]) == 1 then
    local key, id = KEYS[8], ARGV[2]
    if ARGV[8] ~= '' then
      key, id = KEYS[9], ARGV[8]
      redis.call('RENAME', KEYS[8], key)
    end
    redis.call('SETRANGE', key, 8, struct.pack('>I8', generation))
    redis.call('SADD', KEYS[3], id)
    done = 2
  end
end
if not incarnation or string.sub(incarnation, 1, #run_id) ~= run_id then
  incarnation, settled = run_id .. '.' .. ARGV[4], 0
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'incarnation', incarnation, 'unsettled', 1)
end
local number = string.format('%.0f', math.max(tonumber(previous) + 1, time[1] * 1000000 + time[2]))
redis.call('HSET', KEYS[1], 'number', number)
redis.call('PUBLISH', ARGV[3], incarnation .. '|' .. previous .. '|' .. number .. '|' .. what)
-- After the message: if this breaks off, no near cache still answers for the ended session.
if done > 0 and ARGV[9] then append_audit(KEYS[6], KEYS[7], 9, #ARGV) end
local answer = {done, incarnation, number, settled}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if #field == 32 then answer[#answer + 1] = field end
end
return answer
