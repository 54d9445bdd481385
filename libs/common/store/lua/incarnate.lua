-- incarnate: notice that this is another start of Redis than the last one, and what its data may lack then.
--
-- Atomic because the marks must be there before anybody acts on data that lacks its newest writes: every connection
-- makes this its first call, and none outlives the server that it was made to.
--
-- A replica that took over, and a Redis that was killed before its last second was on disk, may lack the intent of an
-- order that has left. So whatever was admitted up to now is suspect: its orders are looked up before anything is sent.
-- Not where the start before kept every write on disk, and this is the same server's data; nor where there is none.
--
-- `suspect until` is when the last request that may have been forgotten can execute no more.
--
-- ARGV[2]  run id of this start
-- ARGV[3]  does it keep every write: no replicas, and an fsync before each answer, 1|0
-- ARGV[4]  was it a replica before, 1|0
-- ARGV[5]  how long after it was granted a request may execute at most, ms
-- ARGV[6]  run id that the caller met before, or ''
--
-- Returns  {'SAME'} | {'NEW', run id before or '', suspect until ms, or '0' where nothing is}

write_even_when_full()

local run_id, keeps_all, took_over, window, met = ARGV[2], ARGV[3], ARGV[4] == '1', tonumber(ARGV[5]), ARGV[6]
local known = redis.call('HMGET', META, 'run_id', 'keeps_all', 'suspect_until')
local before = known[1] or ''
if before == run_id then
  -- From now on it may lose something: that stays true of this start.
  if known[2] == '1' and keeps_all == '0' then redis.call('HSET', META, 'keeps_all', '0') end
  return {'SAME'}
end

local is_whole
if before == '' then
  local has_data = redis.call('EXISTS', LANES) == 1 or redis.call('EXISTS', PARKED) == 1
    or redis.call('EXISTS', JOURNAL) == 1
  -- Nobody looked before: an older version of us, or data of before the first look.
  is_whole = not has_data or (keeps_all == '1' and not took_over)
else
  -- With another start in between than the caller knows of, this is an older copy.
  is_whole = known[2] == '1' and not took_over and (met == '' or met == before)
end

redis.call('HSET', META, 'run_id', run_id, 'keeps_all', keeps_all)
if is_whole then
  write_journal('INCARNATED', '', '', '', 'kept', before)
  return {'NEW', before, '0'}
end
local at = NOW
local entry = write_journal('INCARNATED', '', '', '', 'suspect', before)
-- Ids of a stream never go back: this one tells if the clock is behind that of the server before.
local written_at = tonumber(string.match(entry, '^%d+'))
if ARGV[1] == '' and written_at > NOW then at = written_at + 100 end
local until_ms = text(math.max(at + window, tonumber(known[3] or '') or 0))
redis.call('HSET', META, 'suspect_at', text(at), 'suspect_until', until_ms)
return {'NEW', before, until_ms}
