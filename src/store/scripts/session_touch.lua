-- Records that a session was used now, which restarts its idle timeout. Never recreates one that is gone.
-- KEYS[1] session
-- ARGV[1] idle ms, ARGV[2] absolute end in ms since 1970, ARGV[3] us that must lie between two touches
-- Returns 1 touched, 0 gone, or touched by another worker in between
local seen = redis.call('GETRANGE', KEYS[1], 0, 7)
if #seen ~= 8 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now - struct.unpack('>I8', seen) < tonumber(ARGV[3]) then return 0 end
redis.call('SETRANGE', KEYS[1], 0, struct.pack('>I8', now))
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.min(math.floor(now / 1000) + ARGV[1], tonumber(ARGV[2]))))
return 1
