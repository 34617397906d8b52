-- Makes a near cache a holder, at the number of the latest revocation.
-- KEYS[1] revocations, KEYS[2] holders
-- ARGV[1] id of the holder, new at each joining, ARGV[2] how many holders there may be
-- Returns {incarnation, number}, or the error CONFLICT when there are too many
local incarnation = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('HGET', KEYS[1], 'incarnation') ~= incarnation then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'incarnation', incarnation, 'since', string.format('%.0f', time[1] * 1000000 + time[2]))
  redis.call('DEL', KEYS[2])
end
if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[2]) then
  return redis.error_reply('CONFLICT there are too many holders')
end
local number = redis.call('HGET', KEYS[1], 'number') or '0'
redis.call('HSET', KEYS[2], ARGV[1], number)
return {incarnation, number}
