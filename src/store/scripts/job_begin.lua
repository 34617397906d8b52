-- Begins a run of a scheduled job if it is due. The schedule is a grid: a late run does not move the ones after it, and missed
-- runs collapse into one. A run that an earlier leader began and did not end is due at once.
-- KEYS[1] lease, KEYS[2] job
-- ARGV[1] owner|epoch, ARGV[2] interval in ms, ARGV[3] number of the attempt: the same until an answer has come, so that a lost
--   answer does not lose the run
-- Returns {1 begun or 0 not due, ms until the next run}, or the error FENCED
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local interval = tonumber(ARGV[2])
local stored = redis.call('HMGET', KEYS[2], 'next_due_at', 'running')
local due = tonumber(stored[1] or now)
if due > now + interval then
  -- The interval was shortened, or the clock went back: the next run is moved up, once.
  due = now + interval
  redis.call('HSET', KEYS[2], 'next_due_at', string.format('%.0f', due))
end
local attempt = ARGV[1] .. '#' .. ARGV[3]
if stored[2] == attempt then return {1, due - now} end
-- A run of this same term has ended even if that was not recorded: otherwise its leader would not ask for the next one.
local interrupted = stored[2] and string.sub(stored[2], 1, #ARGV[1] + 1) ~= ARGV[1] .. '#'
if now < due and not interrupted then return {0, due - now} end
if now >= due then due = due + (math.floor((now - due) / interval) + 1) * interval end
if interrupted then redis.call('HSET', KEYS[2], 'last_outcome', 'interrupted') end
redis.call('HINCRBY', KEYS[2], 'runs', 1)
redis.call('HSET', KEYS[2], 'interval', ARGV[2], 'running', attempt,
  'last_started_at', string.format('%.0f', now), 'next_due_at', string.format('%.0f', due))
return {1, due - now}
