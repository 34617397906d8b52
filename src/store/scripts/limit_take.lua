-- Takes one from each bucket, or from none if one of them is empty (GCRA: a bucket is the moment at which it is full
-- again, and no counter).
-- KEYS[...] buckets
-- ARGV[1] 1 takes, 0 only looks, ARGV[2...] for each bucket: us that one takes to come back, us that all take
-- Returns {0 there was one in each, or the number of the first empty bucket; ms until one has come back in each; how many are left
-- in the first}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full, empty, wait, left = {}, 0, 0, 0
for i = 1, #KEYS do
  local one, all = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local at = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now)
  if at > now + all then
    -- Further ahead than an empty bucket is: the limit was another, or the clock went back. It is empty from now on.
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
