-- Takes what is to be undone, so that nobody else undoes it too.
-- KEYS[1] what is kept
-- ARGV[1] who takes it
-- Returns {what was done} if it is free, {false, time in ms and who has taken it}, or {} if it is over
local kept = redis.call('HMGET', KEYS[1], 'done', 'taken')
if not kept[1] then return {} end
if kept[2] then return {false, kept[2]} end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[1], 'taken', now .. ' ' .. ARGV[1])
return {kept[1]}
