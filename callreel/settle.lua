-- The result of a final recording has all of its first chunks, and all that was asked for up to a fact: if no more came,
-- nobody has to look after it.
-- KEYS: 1 recording, 2 open recordings   ARGV: 1 recording, 2 number of chunks, 3 number of that fact
-- In one step, for a chunk registered between question and removal would be forgotten.
local known = redis.call('HMGET', KEYS[1], 'status', 'chunks', 'asked')
local final = known[1] == 'completed' or known[1] == 'failed' or known[1] == 'deleted'
local enough = tonumber(known[2] or 0) <= tonumber(ARGV[2]) and tonumber(known[3] or 0) <= tonumber(ARGV[3])
if final and enough then redis.call('SREM', KEYS[2], ARGV[1]) end
return 1
