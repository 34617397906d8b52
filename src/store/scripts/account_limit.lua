-- Checks whether logins to an account may fail once more, or counts a failure. Once the bucket was emptied, the first failures
-- that come back are reserved for calm addresses (limits.rs): otherwise the most aggressive client would get them all.
-- KEYS[1] bucket, KEYS[2] mark that it was emptied, KEYS[3] mark that this address has failed
-- ARGV[1] 1 counts a failure, 0 only looks, ARGV[2] us until one comes back, ARGV[3] us until all have
-- ARGV[4] how many are reserved for calm addresses, ARGV[5] ms for which the mark of an address that has failed is kept
-- ARGV[6] 1 counts the failure as that of a calm address
-- Returns {ms until a calm address may fail, ms until any other may, 1 this address has failed lately}, as before this failure
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local one, all, kept = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
-- Further ahead than an empty bucket can be: the limit was changed, or the clock went back. Count it as empty.
local stored = tonumber(redis.call('GET', KEYS[1]) or now)
local at = math.min(math.max(stored, now), now + all)
if stored > at then redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil(all / 1000)) end
local emptied = redis.call('EXISTS', KEYS[2]) == 1
local failed = redis.call('EXISTS', KEYS[3])
-- How long until this many are there.
local function ms(count) return math.max(0, math.ceil((at + count * one - all - now) / 1000)) end
local calm = ms(1)
local other = emptied and ms(1 + kept) or calm
if ARGV[1] == '1' then
  redis.call('SET', KEYS[3], '', 'PX', ARGV[5])
  if (ARGV[6] == '1' and calm or other) == 0 then
    at = at + one
    redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000))
    if ms(1 + kept) > 0 and (emptied or ms(1) > 0) then redis.call('SET', KEYS[2], '', 'PX', ms(1 + kept)) end
  end
end
return {calm, other, failed}
