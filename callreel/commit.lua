-- The chunk is stored for good: register it, and say what of its segment is here. Idempotent.
-- KEYS: 1 epoch, 2 recording, 3 track, 4 slots of the segment, 5 open recordings
-- ARGV: 1 now_ms, 2 recording, 3 seg, 4 seq, 5 sha256, 6 facts, 7 size, 8 media type
-- Few calls, for they are what a script costs: everything is read at once, and written at once.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'no_epoch'} end
local recording = redis.call('HMGET', KEYS[2], 'status', 'bytes', 'chunks')
local status = recording[1]
if not status then return {'unknown_recording'} end
if status == 'deleting' or status == 'deleted' then return {'recording_deleted'} end
local seg, seq, size = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[7])
local first, last = 's:' .. seg .. ':', 'e:' .. seg .. ':'
local function text(number) return string.format('%.0f', number) end

local slot = redis.call('HGET', KEYS[4], ARGV[4])
local state, sha256
if slot then
  state, sha256 = string.match(slot, '^(%a) (%x+) ')
  if sha256 ~= ARGV[5] then return {'chunk_conflict'} end
end
local track = redis.call('HMGET', KEYS[3], first .. '0', 't:' .. seg, last .. (seq - 1), first .. (seq + 1),
  'segs', 'b:' .. seg, 'bytes', 'mime')
local run_from_0, top = track[1], tonumber(track[2] or -1)
if state ~= 'c' then
  redis.call('HSET', KEYS[4], ARGV[4], 'c ' .. ARGV[5] .. ' ' .. ARGV[6] .. ' ' .. ARGV[1])
  local from, to = tonumber(track[3] or seq), tonumber(track[4] or seq)
  local joined = {}
  if track[3] then joined[#joined + 1] = last .. (seq - 1) end
  if track[4] then joined[#joined + 1] = first .. (seq + 1) end
  if #joined > 0 then redis.call('HDEL', KEYS[3], unpack(joined)) end
  top = math.max(top, seq)
  if from == 0 then run_from_0 = to end
  redis.call('HSET', KEYS[3], first .. from, to, last .. to, from, 't:' .. seg, top,
    'segs', math.max(tonumber(track[5] or 0), tonumber(seg) + 1), 'mime', track[8] or ARGV[8],
    'b:' .. seg, text(tonumber(track[6] or 0) + size), 'bytes', text(tonumber(track[7] or 0) + size))
  redis.call('HSET', KEYS[2], 'bytes', text(tonumber(recording[2] or 0) + size),
    'chunks', text(tonumber(recording[3] or 0) + 1), 'lastChunkMs', ARGV[1])
  if status == 'completed' or status == 'failed' then redis.call('SADD', KEYS[5], ARGV[2]) end
end

local answer = {'ok', status}
local next_seq = run_from_0 and tonumber(run_from_0) + 1 or 0
answer[3] = next_seq
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
