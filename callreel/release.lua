-- A reservation whose bytes never came is given up, unless it is another one by now.
-- KEYS: 1 slots of the segment   ARGV: 1 seq, 2 sha256
local slot = redis.call('HGET', KEYS[1], ARGV[1])
if slot and string.match(slot, '^r (%x+) ') == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
