-- To be called when a whole lease has passed since a revocation: removes the holders that have not confirmed it, which can
-- answer no more, and notes that this is so for holders of an earlier incarnation too. One that has confirmed after all stays.
-- KEYS[1] holders
-- ARGV[1] incarnation, ARGV[2] number of the revocation, ARGV[3...] holders that were silent at the last look
-- Returns 1 done, 0 Redis has forgotten holders since and nothing changed
if redis.call('HGET', KEYS[1], 'incarnation') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'unsettled')
for i = 3, #ARGV do
  local applied = redis.call('HGET', KEYS[1], ARGV[i])
  if applied and tonumber(applied) < tonumber(ARGV[2]) then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 1
