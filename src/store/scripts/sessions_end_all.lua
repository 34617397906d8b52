-- Ends every session of a user but one kept, by the next generation: a constant number of keys, however many
-- sessions. The dead ones are refused by every check and go when their time is up.
-- KEYS[1] generation, KEYS[2] index of sessions, KEYS[3] the session kept, if any
-- ARGV[1] id of the session kept, or ''
-- Returns the new generation
local generation = redis.call('INCR', KEYS[1])
local kept = ARGV[1] ~= '' and redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1
redis.call('UNLINK', KEYS[2])
if kept and redis.call('EXISTS', KEYS[3]) == 1 then
  redis.call('SETRANGE', KEYS[3], 8, struct.pack('>I8', generation))
  redis.call('SADD', KEYS[2], ARGV[1])
end
return generation
