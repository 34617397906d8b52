-- Puts one back into each bucket.
-- KEYS[...] buckets
-- ARGV[...] for each bucket: us until one comes back by itself
-- Returns nothing
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i = 1, #KEYS do
  local at = tonumber(redis.call('GET', KEYS[i]) or now) - tonumber(ARGV[i])
  if at <= now then
    redis.call('DEL', KEYS[i])
  else
    redis.call('SET', KEYS[i], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000))
  end
end
