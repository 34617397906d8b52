-- Begins the run of a request that carries an Idempotency-Key, unless it has run already or is running.
-- KEYS[1] record
-- ARGV[1] digest of the request, ARGV[2] owner, ARGV[3] name of the run, ARGV[4] how long it counts as alive without a sign of
-- its worker, in ms, ARGV[5] how long the record is kept, in ms
-- Returns {kind, text, ms}: 'run' with the name; 'again' with the name of the run whose worker fell silent; 'answered' with the
--   answer; 'running' with the ms until it is presumed dead; 'other' if the key came with another request
local record = redis.call('HMGET', KEYS[1], 'request', 'answer', 'until', 'name')
if record[1] and record[1] ~= ARGV[1] then return {'other', '', 0} end
if record[2] then return {'answered', record[2], 0} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = tonumber(record[3] or '0') - now
if left > 0 then return {'running', '', left} end
local name = record[4] or ARGV[3]
redis.call('HSET', KEYS[1], 'request', ARGV[1], 'owner', ARGV[2], 'name', name,
  'until', string.format('%.0f', now + ARGV[4]))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {record[1] and 'again' or 'run', name, 0}
