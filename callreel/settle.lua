-- The result of a final recording has all of its first chunks: if no more came, nobody has to look after it.
-- KEYS: 1 recording, 2 open recordings   ARGV: 1 recording, 2 number of chunks
-- In one step, for a chunk registered between question and removal would be forgotten.
local known = redis.call('HMGET', KEYS[1], 'status', 'chunks')
local final = known[1] == 'completed' or known[1] == 'failed' or known[1] == 'deleted'
if final and tonumber(known[2] or 0) <= tonumber(ARGV[2]) then redis.call('SREM', KEYS[2], ARGV[1]) end
return 1
