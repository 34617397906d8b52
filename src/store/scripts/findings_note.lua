-- Records which findings are there, each with the time at which it was first and last seen, and removes those that are gone; for
-- the leader only while it holds the lease.
-- KEYS[1] findings, KEYS[2] lease
-- ARGV[1] owner|epoch, or empty if the caller is not the leader, ARGV[2] how many are kept, ARGV[3] how many are there
-- ARGV[4...] the id of each that is there, then id and record of each that is gone: the record as it was read, or empty for any
-- Returns how many are recorded, or the error FENCED
if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local last = 3 + tonumber(ARGV[3])
for i = last + 1, #ARGV, 2 do
  if ARGV[i + 1] == '' or redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
local noted = redis.call('HLEN', KEYS[1])
for i = 4, last do
  local note = redis.call('HGET', KEYS[1], ARGV[i])
  if note then
    redis.call('HSET', KEYS[1], ARGV[i], note:match('^%d+') .. ':' .. now)
  elseif noted < tonumber(ARGV[2]) then
    redis.call('HSET', KEYS[1], ARGV[i], now .. ':' .. now)
    noted = noted + 1
  end
end
return noted
