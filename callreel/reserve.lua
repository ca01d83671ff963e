-- May this chunk come in, and under which facts? Idempotent: asked again it gives the same answer.
-- KEYS: 1 epoch, 2 recording, 3 track, 4 slots of the segment
-- ARGV: 1 now_ms, 2 late_ms, 3 participant ('' for a service), 4 track, 5 seq ('' asks for admission alone), 6 seg,
--       7 sha256, 8 facts, 9 size, 10 largest track, 11 largest recording, 12 how far a number may be ahead
if redis.call('EXISTS', KEYS[1]) == 0 then return {'no_epoch'} end
local now_ms = tonumber(ARGV[1])
local recording = redis.call('HMGET', KEYS[2], 'status', 'stoppedMs', 'bytes', 'owner:' .. ARGV[4],
  'barred:' .. ARGV[4])
if not recording[1] then return {'unknown_recording'} end
if recording[1] == 'deleting' or recording[1] == 'deleted' then return {'recording_deleted'} end
if not recording[4] then return {'unknown_track'} end
if ARGV[3] ~= '' and ARGV[3] ~= recording[4] then return {'not_your_track'} end
if recording[5] then return {'participant_removed', recording[4]} end
local sealed = recording[2] and now_ms > tonumber(recording[2]) + tonumber(ARGV[2])
if ARGV[5] == '' then
  if sealed then return {'recording_sealed'} end
  return {'ok', recording[4]}
end

local slot = redis.call('HGET', KEYS[4], ARGV[5])
if slot then
  local state, sha256, facts, at_ms = string.match(slot, '^(%a) (%x+) (%S+) (%d+)$')
  if sha256 ~= ARGV[7] then
    return {'chunk_conflict', state, recording[4], sha256, facts, tostring(now_ms - tonumber(at_ms))}
  end
  return {state == 'c' and 'stored' or 'ok', recording[4], facts, recording[1]}
end
if sealed then return {'recording_sealed'} end

local size = tonumber(ARGV[9])
local track = redis.call('HMGET', KEYS[3], 'bytes', 'segs', 't:' .. ARGV[6])
if tonumber(track[1] or 0) + size > tonumber(ARGV[10]) then return {'track_too_large'} end
if tonumber(recording[3] or 0) + size > tonumber(ARGV[11]) then return {'recording_too_large'} end
-- Ahead of the highest number that is here: from the first hole, one chunk lost for good would end the track one day.
local next_seq = tonumber(track[3] or -1) + 1
if tonumber(ARGV[5]) >= next_seq + tonumber(ARGV[12]) then return {'sequence_too_far', 'seq', tostring(next_seq)} end
local next_seg = tonumber(track[2] or 0)
if tonumber(ARGV[6]) >= next_seg + tonumber(ARGV[12]) then return {'sequence_too_far', 'seg', tostring(next_seg)} end

redis.call('HSET', KEYS[4], ARGV[5], 'r ' .. ARGV[7] .. ' ' .. ARGV[8] .. ' ' .. ARGV[1])
return {'ok', recording[4], ARGV[8], recording[1]}
