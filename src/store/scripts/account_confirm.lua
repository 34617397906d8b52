-- Writes the mark of an unconfirmed account once more, so that replicas that confirm this write have the account too; or removes
-- the mark once they have confirmed it.
-- KEYS[1] account
-- ARGV[1] the mark as it was read, ARGV[2] 'again' or 'done'
-- Returns 1 written or removed, 0 there is another mark, or none, and nothing changed
if redis.call('HGET', KEYS[1], 'unconfirmed') ~= ARGV[1] then return 0 end
if ARGV[2] == 'again' then
  redis.call('HSET', KEYS[1], 'unconfirmed', ARGV[1])
else
  redis.call('HDEL', KEYS[1], 'unconfirmed')
end
return 1
