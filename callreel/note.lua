-- A fact of a recording is durable: keep what admission needs. Facts may be told twice and in any order.
-- KEYS: 1 recording, 2 open recordings, 3 recordings whose news may be owed to webhooks, 4 all recordings,
--       5 recordings whose files replaced others
-- ARGV: 1 recording, 2 sequence, 3 'open', 'final' or 'gone', 4 channel, 5 when what was replaced is to be deleted, or '',
--       6… field, value, …
-- What becomes final stays open: a chunk may have come while its result was made. `settle` tells that none did.
redis.call('ZADD', KEYS[4], string.match(ARGV[1], '_(%d+)$'), ARGV[1])
local known = tonumber(redis.call('HGET', KEYS[1], 'sequence') or 0)
if tonumber(ARGV[2]) > known then redis.call('SADD', KEYS[3], ARGV[1]) end
if tonumber(ARGV[2]) >= known then
  redis.call('HSET', KEYS[1], 'sequence', ARGV[2])
  for i = 6, #ARGV, 2 do -- one by one: `unpack` ends at some 8000 values
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
  if ARGV[3] == 'open' then
    redis.call('SADD', KEYS[2], ARGV[1])
  elseif ARGV[3] == 'gone' then
    redis.call('SREM', KEYS[2], ARGV[1])
  end
  if ARGV[5] == '' then
    redis.call('ZREM', KEYS[5], ARGV[1])
  else
    redis.call('ZADD', KEYS[5], ARGV[5], ARGV[1])
  end
end
if ARGV[4] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[1]) end
return 1
