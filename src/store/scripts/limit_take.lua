-- Takes one from each bucket, or from none if one of them is empty (GCRA: a bucket is stored as the moment at which it will be
-- full again, not as a counter).
-- KEYS[...] buckets
-- ARGV[1] 1 takes, 0 only looks, ARGV[2...] for each bucket: us until one comes back, us until all have
-- Returns {0 there was one in each, or the number of the first empty bucket; ms until each has one; how many are left in the
-- first after this one}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full, empty, wait, left = {}, 0, 0, 0
for i = 1, #KEYS do
  local one, all = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local at = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now)
  if at > now + all then
    -- Further ahead than an empty bucket can be: the limit was changed, or the clock went back. Count it as empty.
    at = now + all
    redis.call('SET', KEYS[i], string.format('%.0f', at), 'PX', math.ceil(all / 1000))
  end
  full[i] = at + one
  local over = full[i] - all - now
  if over > 0 and empty == 0 then empty = i end
  wait = math.max(wait, math.ceil(over / 1000))
  if i == 1 then left = math.max(0, math.floor(-over / one)) end
end
if empty == 0 and ARGV[1] == '1' then
  for i = 1, #KEYS do
    redis.call('SET', KEYS[i], string.format('%.0f', full[i]), 'PX', math.ceil((full[i] - now) / 1000))
  end
end
return {empty, wait, left}
