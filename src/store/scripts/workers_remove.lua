-- Removes workers that were silent when read, unless they have sent a heartbeat since.
-- KEYS[1] lease, KEYS[2] workers
-- ARGV[1] owner|epoch, ARGV[2...] id and heartbeat of each, as they were read
-- Returns how many were removed, or the error FENCED
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
local removed = 0
for i = 2, #ARGV, 2 do
  if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[i + 1] then
    removed = removed + redis.call('HDEL', KEYS[2], ARGV[i])
  end
end
return removed
