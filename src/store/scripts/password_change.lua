-- Sets the admin's password and ends every session but one kept, by the next generation.
-- KEYS[1] account, KEYS[2] generation, KEYS[3] index of sessions, KEYS[4] setup code, KEYS[5] the session kept, if any
-- ARGV[1] the hash that was verified, or '' to set it whatever it was
-- ARGV[2] the new hash, ARGV[3] id of the session kept, or ''
-- Returns 1 changed, 0 the password is another than the one verified and nothing changed
if ARGV[1] ~= '' and redis.call('HGET', KEYS[1], 'password_hash') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'password_hash', ARGV[2])
redis.call('DEL', KEYS[4])
local generation = redis.call('INCR', KEYS[2])
local kept = ARGV[3] ~= '' and redis.call('SISMEMBER', KEYS[3], ARGV[3]) == 1
redis.call('UNLINK', KEYS[3])
if kept and redis.call('EXISTS', KEYS[5]) == 1 then
  redis.call('SETRANGE', KEYS[5], 8, struct.pack('>I8', generation))
  redis.call('SADD', KEYS[3], ARGV[3])
end
return 1
