-- The preamble of scripts that write an audit entry (`scripts/mod.rs` prepends it): local functions only, nothing runs here.
--
-- Each trail of the audit is a stream and the record of its chain: how many entries were ever written, the hash of the latest,
-- the bytes kept, and the number and hash of the latest entry that was trimmed (the anchor of what is left).
-- The hash of an entry is SHA-256(hash of the previous, digest of its fields, number ':' time in ms), in raw bytes.
-- It is computed here because only here nothing can come between the previous entry and the next: there is one order, however
-- many workers write at once, and it is made in the same step as the change. Redis has no SHA-256 for scripts, hence the one
-- below. The worker hashes the fields, however long they are, so only two blocks are hashed here: 0.1 ms of Redis per entry
-- (measured: 107 us for a call of audit_write.lua on Redis 7.0, of which 4 us are the other commands).
local function sha256(message)
  local band, bnot, bxor, ror, shr, wrap = bit.band, bit.bnot, bit.bxor, bit.ror, bit.rshift, bit.tobit
  local k = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
  }
  local state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}
  local padded = message .. '\128' .. string.rep('\0', (55 - #message) % 64) .. struct.pack('>I8', #message * 8)
  for block = 1, #padded, 64 do
    local w = {struct.unpack('>' .. string.rep('I4', 16), string.sub(padded, block, block + 63))}
    for i = 17, 64 do
      local x, y = w[i - 15], w[i - 2]
      w[i] = wrap(w[i - 16] + bxor(ror(x, 7), ror(x, 18), shr(x, 3)) + w[i - 7] + bxor(ror(y, 17), ror(y, 19), shr(y, 10)))
    end
    local a, b, c, d, e, f, g, h = unpack(state)
    for i = 1, 64 do
      local one = h + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(band(e, f), band(bnot(e), g)) + k[i] + w[i]
      local two = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bxor(band(a, b), band(a, c), band(b, c))
      h, g, f, e, d, c, b, a = g, f, e, wrap(d + one), c, b, a, wrap(one + two)
    end
    for i, added in ipairs({a, b, c, d, e, f, g, h}) do state[i] = wrap(state[i] + added) end
  end
  for i = 1, 8 do state[i] = state[i] % 4294967296 end
  return struct.pack('>I4I4I4I4I4I4I4I4', unpack(state))
end

-- Appends the entry that ARGV has from `first` on: for how many ms entries are kept, the digest of the fields, the fields up to
-- `last`. What is older than that, or beyond 16 MiB, is trimmed, a little in each call so that no call takes long: at most a
-- hundred entries that are too old, or ten to make room. The latest entry always stays. Returns the new entry's id.
local function append_audit(stream, chain, first, last)
  local most, time = 16777216, redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local known = redis.call('HMGET', chain, 'number', 'hash', 'bytes')
  local number, at = string.format('%.0f', tonumber(known[1] or '0') + 1), string.format('%.0f', now)
  local hash = sha256((known[2] or string.rep('\0', 32)) .. ARGV[first + 1] .. number .. ':' .. at)
  local entry = {'number', number, 'at', at, 'hash', hash}
  for i = first + 2, last do entry[#entry + 1] = ARGV[i] end
  local bytes = tonumber(known[3] or '0')
  for _, text in ipairs(entry) do bytes = bytes + #text end

  local oldest = now - tonumber(ARGV[first])
  local function is_over(kept)
    return bytes > most or tonumber(string.match(kept[1], '^%d+')) < oldest
  end
  local left, trimmed = nil, nil
  local kept = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)
  if kept[1] and is_over(kept[1]) then
    kept = redis.call('XRANGE', stream, '-', '+', 'COUNT', bytes > most and 11 or 101)
    for i = 1, #kept - 1 do
      if not is_over(kept[i]) then break end
      local fields = kept[i][2]
      for j = 1, #fields, 2 do
        bytes = bytes - #fields[j] - #fields[j + 1]
        if fields[j] == 'number' or fields[j] == 'hash' then
          trimmed = trimmed or {}
          trimmed[fields[j]] = fields[j + 1]
        end
      end
      left = kept[i + 1][1]
    end
  end
  redis.call('HSET', chain, 'number', number, 'hash', hash, 'bytes', string.format('%.0f', math.max(bytes, 0)))
  if trimmed and trimmed.number and trimmed.hash then
    redis.call('HSET', chain, 'trimmed_number', trimmed.number, 'trimmed_hash', trimmed.hash)
  end
  if left then return redis.call('XADD', stream, 'MINID', '=', left, '*', unpack(entry)) end
  return redis.call('XADD', stream, '*', unpack(entry))
end

