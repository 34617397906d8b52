-- Makes a waiting worker the watcher of the leader for a while, unless another one is.
-- KEYS[1] watcher
-- ARGV[1] worker, ARGV[2] for how many ms
-- Returns 1 it is the watcher now, 0 another one is
local watcher = redis.call('GET', KEYS[1])
if watcher and watcher ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
