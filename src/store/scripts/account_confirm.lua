-- Writes the mark of an unconfirmed account once more, so that replicas that confirm this have the account; or takes it away once
-- they have.
-- KEYS[1] account
-- ARGV[1] the mark as it was read, ARGV[2] 'again' or 'done'
-- Returns 1 written or taken away, 0 it is another one, or none, and nothing changed
if redis.call('HGET', KEYS[1], 'unconfirmed') ~= ARGV[1] then return 0 end
if ARGV[2] == 'again' then
  redis.call('HSET', KEYS[1], 'unconfirmed', ARGV[1])
else
  redis.call('HDEL', KEYS[1], 'unconfirmed')
end
return 1
