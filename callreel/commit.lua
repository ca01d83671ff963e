-- The chunk is stored for good: register it, and say what of its segment is here. Idempotent.
-- KEYS: 1 epoch, 2 recording, 3 track, 4 slots of the segment, 5 open recordings
-- ARGV: 1 now_ms, 2 recording, 3 seg, 4 seq, 5 sha256, 6 facts, 7 size, 8 media type
if redis.call('EXISTS', KEYS[1]) == 0 then return {'no_epoch'} end
local status = redis.call('HGET', KEYS[2], 'status')
if not status then return {'unknown_recording'} end
if status == 'deleting' or status == 'deleted' then return {'recording_deleted'} end
local seg, seq = ARGV[3], tonumber(ARGV[4])
local first, last = 's:' .. seg .. ':', 'e:' .. seg .. ':'

local slot = redis.call('HGET', KEYS[4], ARGV[4])
local state, sha256
if slot then
  state, sha256 = string.match(slot, '^(%a) (%x+) ')
  if sha256 ~= ARGV[5] then return {'chunk_conflict'} end
end
if state ~= 'c' then
  redis.call('HSET', KEYS[4], ARGV[4], 'c ' .. ARGV[5] .. ' ' .. ARGV[6] .. ' ' .. ARGV[1])
  local from, to = seq, seq
  local before = redis.call('HGET', KEYS[3], last .. (seq - 1))
  if before then
    from = tonumber(before)
    redis.call('HDEL', KEYS[3], last .. (seq - 1))
  end
  local behind = redis.call('HGET', KEYS[3], first .. (seq + 1))
  if behind then
    to = tonumber(behind)
    redis.call('HDEL', KEYS[3], first .. (seq + 1))
  end
  redis.call('HSET', KEYS[3], first .. from, to, last .. to, from)
  redis.call('HINCRBY', KEYS[3], 'b:' .. seg, ARGV[7])
  redis.call('HINCRBY', KEYS[3], 'bytes', ARGV[7])
  redis.call('HSETNX', KEYS[3], 'mime', ARGV[8])
  local known = redis.call('HMGET', KEYS[3], 't:' .. seg, 'segs')
  if seq > tonumber(known[1] or -1) then redis.call('HSET', KEYS[3], 't:' .. seg, seq) end
  if tonumber(seg) >= tonumber(known[2] or 0) then redis.call('HSET', KEYS[3], 'segs', tonumber(seg) + 1) end
  redis.call('HINCRBY', KEYS[2], 'bytes', ARGV[7])
  redis.call('HINCRBY', KEYS[2], 'chunks', 1)
  redis.call('HSET', KEYS[2], 'lastChunkMs', ARGV[1])
  if status == 'completed' or status == 'failed' then redis.call('SADD', KEYS[5], ARGV[2]) end
end

local answer = {'ok', status}
local here = redis.call('HMGET', KEYS[3], first .. '0', 't:' .. seg)
local next_seq = here[1] and tonumber(here[1]) + 1 or 0
answer[3] = next_seq
local top = tonumber(here[2])
if next_seq <= top then -- holes: rare, so a walk over the track's ranges is good enough
  local fields = redis.call('HGETALL', KEYS[3])
  local starts, ends = {}, {}
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, #first) == first then
      local from = tonumber(string.sub(fields[i], #first + 1))
      starts[#starts + 1] = from
      ends[from] = tonumber(fields[i + 1])
    end
  end
  table.sort(starts)
  local at = 0
  for _, from in ipairs(starts) do
    if from > at then
      answer[#answer + 1] = at
      answer[#answer + 1] = from - 1
    end
    at = ends[from] + 1
  end
end
return answer
