-- A recording was looked at for an endpoint: when to look again, unless a fact came that was not seen.
-- KEYS: 1 recording, 2 recordings that may owe the endpoint   ARGV: 1 recording, 2 sequence seen, 3 when, '' for never
if tonumber(redis.call('HGET', KEYS[1], 'sequence') or 0) > tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
end
return 1
