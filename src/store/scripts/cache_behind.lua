-- Lists the holders that have not confirmed the latest revocation. Changes nothing, but writes all the same: replicas that
-- confirm this write have everything before it, including a revocation that was not confirmed yet.
-- KEYS[1] holders
-- ARGV none
-- Returns {1, incarnation, number, 1 settled or 0 a whole lease must be waited, holders...}
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or '?'
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'number', 'unsettled')
if not known[1] or string.sub(known[1], 1, #run_id) ~= run_id then
  redis.call('HSET', KEYS[1], 'unsettled', 1)
  return {1, '', '0', 0}
end
redis.call('HSET', KEYS[1], 'number', known[2])
local answer = {1, known[1], known[2], known[3] and 0 or 1}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if #fields[i] == 32 and fields[i + 1] ~= known[2] then answer[#answer + 1] = fields[i] end
end
return answer
