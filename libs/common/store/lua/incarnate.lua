-- incarnate: notice that this is another start of Redis than the last one, and what its data may lack then.
--
-- Atomic because the marks must be there before anybody acts on data that lacks its newest writes: every connection
-- makes this its first call, and none outlives the server that it was made to.
--
-- A replica that took over, and a Redis that was killed before its last second was on disk, may lack the intent of an
-- order that has left. So whatever was admitted up to now is suspect: its orders are looked up before anything is sent.
-- Not where the start before kept every write on disk, and this is the same server's data; nor where there is none.
--
-- Each such return is an epoch, which admit notes in what it admits: whatever is of an earlier one is suspect. Not told
-- by times, since a clock may step back. Data that lacks its newest writes lacks later epochs with them, so the number
-- of a new one is in none of its records.
--
-- An address may also lead back to a server that was cut off meanwhile, and lacks what another wrote: the same start as
-- the last one that its data knows. Its epoch is lower than the other's, where that took over; and who met both says so.
-- Data of a later epoch than any that the caller met was marked since.
--
-- `suspect until` is when the last request that may have been forgotten can execute no more; whatever the clock does
-- then, not longer than `suspect window` from now on.
--
-- ARGV[2]  run id of this start
-- ARGV[3]  does it keep every write: no replicas, and an fsync before each answer, 1|0
-- ARGV[4]  was it a replica before, 1|0
-- ARGV[5]  how long after it was granted a request may execute at most, ms
-- ARGV[6]  run id that the caller met before, or ''
-- ARGV[7]  the highest epoch that the caller met; 0 for none
-- ARGV[8]  did it meet this start, then another, and now this again, 1|0
-- ARGV[9]  number of shards that its process goes by, and
-- ARGV[10] how accounts are spread over them; or neither
--
-- Returns  {'SAME', epoch} | {'NEW', run id before or '', suspect until ms, or '0' where nothing is, epoch}

write_even_when_full()

local run_id, keeps_all, took_over, window, met = ARGV[2], ARGV[3], ARGV[4] == '1', tonumber(ARGV[5]), ARGV[6]
local met_epoch, is_back = tonumber(ARGV[7]), ARGV[8] == '1'
local known = redis.call('HMGET', META, 'run_id', 'keeps_all', 'suspect_until', 'epoch')
local before, epoch = known[1] or '', tonumber(known[4] or '') or 0
local lacks_another = epoch < met_epoch or (is_back and epoch == met_epoch)
-- What may lose something once stays so until its next start.
if before == run_id and known[2] ~= '1' then keeps_all = '0' end
if before == run_id and not lacks_another then
  if known[2] == '1' and keeps_all == '0' then redis.call('HSET', META, 'keeps_all', '0') end
  return {'SAME', text(epoch)}
end

local is_whole
if lacks_another then
  is_whole = false
elseif before == '' then
  local has_data = redis.call('EXISTS', LANES) == 1 or redis.call('EXISTS', PARKED) == 1
    or redis.call('EXISTS', JOURNAL) == 1
  -- Nobody looked before: an older version of us, or data of before the first look.
  is_whole = not has_data or (keeps_all == '1' and not took_over)
else
  -- With another start in between than the caller knows of, this is an older copy.
  is_whole = known[2] == '1' and not took_over and (met == '' or met == before)
end

redis.call('HSET', META, 'run_id', run_id, 'keeps_all', keeps_all)
-- A Redis that came back empty: its next service must not take it for one that was filled before numbers were noted.
if before == '' and ARGV[9] and not redis.call('HGET', META, 'shards') then
  redis.call('HSET', META, 'shards', ARGV[9], 'hash', ARGV[10])
end
if is_whole then
  write_journal('INCARNATED', '', '', '', 'kept', before)
  return {'NEW', before, '0', text(epoch)}
end
epoch = math.max(epoch, met_epoch) + 1
local until_ms = text(math.max(NOW + window, tonumber(known[3] or '') or 0))
redis.call('HSET', META, 'epoch', text(epoch), 'suspect_until', until_ms, 'suspect_window', text(window))
write_journal('INCARNATED', '', '', '', 'suspect', before)
return {'NEW', before, until_ms, text(epoch)}
