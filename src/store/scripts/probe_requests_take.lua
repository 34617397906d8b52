-- Takes the requests for probes that wait, for the scheduler alone: a worker that was paused must not take away what
-- the one that leads now is to answer.
-- KEYS[1] lease, KEYS[2] probe requests
-- ARGV[1] owner|epoch, ARGV[2] how many at most
-- Returns the names of the servers, or the error FENCED
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
return redis.call('SPOP', KEYS[2], ARGV[2])
