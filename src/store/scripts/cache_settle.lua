-- Called when a whole lease has passed since a revocation: removes the holders that have not confirmed it, and records that
-- no forgotten holder can be left either: the leases of all of them have expired. A holder that has confirmed after all stays.
-- KEYS[1] holders
-- ARGV[1] incarnation, ARGV[2] number of the revocation, ARGV[3...] holders that had not confirmed when last read
-- Returns 1 done, 0 Redis has another incarnation now and nothing changed
if redis.call('HGET', KEYS[1], 'incarnation') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'unsettled')
for i = 3, #ARGV do
  local applied = redis.call('HGET', KEYS[1], ARGV[i])
  if applied and tonumber(applied) < tonumber(ARGV[2]) then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 1
