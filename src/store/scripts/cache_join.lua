-- Makes a near cache a holder, at the number of the latest revocation.
-- If the incarnation has another run_id than this Redis, or if there is none, Redis may have forgotten holders that still answer.
-- Then none is kept, and each revocation waits for a whole lease until one has passed.
-- KEYS[1] holders
-- ARGV[1] id of the holder, random, a new one for each join, ARGV[2] how many holders there may be
-- Returns {incarnation, number}, nil if there are too many, or an error if Redis has no run_id
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if not run_id then return redis.error_reply('ERR this Redis reports no run_id in INFO: near caches need it') end
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'number')
local incarnation, number = known[1], known[2] or '0'
if not incarnation or string.sub(incarnation, 1, #run_id) ~= run_id then
  incarnation = run_id .. '.' .. ARGV[1]
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'incarnation', incarnation, 'number', number, 'unsettled', 1)
end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[2]) then return false end
redis.call('HSET', KEYS[1], ARGV[1], number)
return {incarnation, number}
