-- Takes the waiting requests for probes, for the leader only: a former leader that was paused must not take requests that the
-- present one is to serve.
-- KEYS[1] lease, KEYS[2] probe requests
-- ARGV[1] owner|epoch, ARGV[2] how many at most
-- Returns the names of the servers, or the error FENCED
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('FENCED the lease is held by another, or by nobody')
end
return redis.call('SPOP', KEYS[2], ARGV[2])
