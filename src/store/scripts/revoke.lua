-- Ends sessions, gives the revocation the next number, and notifies all near caches: every revocation is this one script. So are
-- changes of an account that end its sessions: its password, its access, and its end.
-- If the incarnation has another run_id than this Redis, or if there is none, Redis may have forgotten holders that still answer.
-- Then none is kept, and each revocation waits for a whole lease until one has passed.
-- What the Redis user may lack the right to do comes before the first write, and the number before the message: if the script
-- breaks off half way, no holder continues as if nothing had happened.
-- KEYS[1] holders, KEYS[2] generation, KEYS[3] index of sessions, or of tokens for programs, KEYS[4] account, KEYS[5] setup code
-- KEYS[6] audit, KEYS[7] its chain, KEYS[8] generation of tokens, KEYS[9] index of tokens, KEYS[10] all accounts
-- KEYS[11] other accounts that may do everything, KEYS[12] the admin's account
-- KEYS[13] the session to end or to keep, if any, KEYS[14] the one that takes its place, if it is renewed
-- ARGV[1] 'one', 'known' (ends it even if the index does not list it), 'all', 'password', 'factors' (removes all second factors),
--   'access', 'delete', or 'none' to find out which holders are left
-- ARGV[2] id of that session, or '', ARGV[3] channel, ARGV[4] random, for an incarnation
-- ARGV[5] the hash that was verified, or '' to set it whatever it was, ARGV[6] the new hash
-- ARGV[7] a mark that stays with the change until the replicas have confirmed it, or ''
-- ARGV[8] id of the session that takes the kept one's place, or '', ARGV[9] id of the account, ARGV[10] its name
-- ARGV[11] role, ARGV[12] servers, ARGV[13] '1' disabled or '', as they were read, ARGV[14] to ARGV[16] the same as they become
-- ARGV[17...] the audit entry, if there is to be one
-- Returns {1 done, 2 done and a session was kept, or 0 no such session; incarnation; number; 1 settled, or 0 a whole lease must
--   be waited; holders...}, or, with nothing changed, {-1}: the password or the access is another one, or the account is gone;
--   {-2}: nobody else may do everything
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or '?'
local time = redis.call('TIME')
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'number', 'unsettled')
local incarnation, previous, settled = known[1], known[2] or '0', known[3] and 0 or 1
local kind, account, done, what = ARGV[1], ARGV[9], 1, 'all:' .. ARGV[9]
local one = kind == 'one' or kind == 'known'
-- An account that was deleted has no generation, and must not get one: it would be that of its first sessions.
if not one and kind ~= 'none' and (redis.call('HGET', KEYS[4], 'id') or 'admin') ~= account then return {-1} end
if kind == 'password' then
  if ARGV[5] ~= '' and redis.call('HGET', KEYS[4], 'password_hash') ~= ARGV[5] then return {-1} end
  -- While it has a second factor, a version that knows none takes this for no hash.
  local factors = redis.call('HMGET', KEYS[4], 'factor_app', 'factor_passkeys')
  redis.call('HSET', KEYS[4], 'password_hash', ((factors[1] or factors[2]) and 'factor:' or '') .. ARGV[6])
  if ARGV[7] ~= '' then redis.call('HSET', KEYS[4], 'unconfirmed', ARGV[7]) end
  redis.call('DEL', KEYS[5])
end
if kind == 'factors' then
  local hash = redis.call('HGET', KEYS[4], 'password_hash')
  if not hash then return {-1} end
  redis.call('HSET', KEYS[4], 'password_hash', (string.gsub(hash, '^factor:', '')))
  redis.call('HDEL', KEYS[4], 'factor_app', 'factor_app_since', 'factor_app_step', 'factor_recovery', 'factor_passkeys')
  if ARGV[7] ~= '' then redis.call('HSET', KEYS[4], 'unconfirmed', ARGV[7]) end
end
if kind == 'access' or kind == 'delete' then
  -- Role, servers and whether it is disabled. What version 0.2 created has none of them.
  local function access(key)
    local read = redis.call('HMGET', key, 'password_hash', 'role', 'servers', 'disabled')
    return {read[2] or 'admin', read[3] or '', read[4] or '', read[1] and true or false}
  end
  local function may_all(of) return of[4] and of[1] == 'admin' and of[2] == '' and of[3] == '' end
  local before = access(KEYS[4])
  if not before[4] or before[1] ~= ARGV[11] or before[2] ~= ARGV[12] or before[3] ~= ARGV[13] then return {-1} end
  local will = kind == 'access' and may_all({ARGV[14], ARGV[15], ARGV[16], true})
  if may_all(before) and not will then
    local others = ARGV[10] ~= 'admin' and may_all(access(KEYS[12]))
    for _, name in ipairs(redis.call('SMEMBERS', KEYS[11])) do others = others or name ~= ARGV[10] end
    if not others then return {-2} end
  end
  if kind == 'delete' then
    redis.call('DEL', KEYS[4], KEYS[2], KEYS[8])
    redis.call('ZREM', KEYS[10], ARGV[10])
  else
    redis.call('HSET', KEYS[4], 'role', ARGV[14], 'servers', ARGV[15])
    if ARGV[16] ~= '' then redis.call('HSET', KEYS[4], 'disabled', ARGV[16]) else redis.call('HDEL', KEYS[4], 'disabled') end
    if ARGV[7] ~= '' then redis.call('HSET', KEYS[4], 'unconfirmed', ARGV[7]) end
    redis.call('INCR', KEYS[8])
  end
  if ARGV[10] ~= 'admin' then redis.call(will and 'SADD' or 'SREM', KEYS[11], ARGV[10]) end
  redis.call('UNLINK', KEYS[9])
end
if one then
  what = ARGV[2]
  local indexed = redis.call('SREM', KEYS[3], ARGV[2]) == 1
  done = 0
  if indexed or kind == 'known' then done = redis.call('DEL', KEYS[13]) end
elseif kind == 'none' then
  what = 'none'
elseif kind == 'delete' then
  redis.call('UNLINK', KEYS[3])
else
  local generation = redis.call('INCR', KEYS[2])
  local kept = ARGV[2] ~= '' and redis.call('SISMEMBER', KEYS[3], ARGV[2]) == 1
  redis.call('UNLINK', KEYS[3])
  if kept and redis.call('EXISTS', KEYS[13]) == 1 then
    local key, id = KEYS[13], ARGV[2]
    if ARGV[8] ~= '' then
      key, id = KEYS[14], ARGV[8]
      redis.call('RENAME', KEYS[13], key)
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
if done > 0 and ARGV[17] then append_audit(KEYS[6], KEYS[7], 17, #ARGV) end
local answer = {done, incarnation, number, settled}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if #field == 32 then answer[#answer + 1] = field end
end
return answer
