-- Stores the answer of a run, or deletes the run if its answer would not help a client that asks again.
-- KEYS[1] record
-- ARGV[1] owner, ARGV[2] answer, empty to delete the run, ARGV[3] how long it is kept, in ms
-- Returns 1, or 0 if the run is not this owner's any more
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
  return 1
end
redis.call('HSET', KEYS[1], 'answer', ARGV[2])
redis.call('HDEL', KEYS[1], 'owner', 'until')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
