-- Renews the lease, only if it is exactly this term's; never recreates one.
-- KEYS[1] lease
-- ARGV[1] owner|epoch, ARGV[2] lease TTL in ms
-- Returns {1, us since 1970} renewed, {0, us since 1970} lost
local time = redis.call('TIME')
local us = string.format('%.0f', time[1] * 1000000 + time[2])
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {0, us} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1, us}
