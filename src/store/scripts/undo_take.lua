-- Claims the undo of a change, so that nobody else undoes it too.
-- KEYS[1] the record
-- ARGV[1] who undoes it
-- Returns {what was done} if nobody has, {false, time in ms and who has undone it}, or {} if it can no longer be undone
local kept = redis.call('HMGET', KEYS[1], 'done', 'taken')
if not kept[1] then return {} end
if kept[2] then return {false, kept[2]} end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[1], 'taken', now .. ' ' .. ARGV[1])
return {kept[1]}
