-- configure: put one field of a table that is kept in Redis, or take it out, if it still is what its writer saw.
--
-- Atomic because two people may change the same webhook at a time, and because every ingress must learn of a change
-- by the revision that comes with it. Done at the memory limit too: a webhook must be disabled then of all times.
--
-- KEYS[9]  table    HASH  the table
-- ARGV[2]  field
-- ARGV[3]  what it held when it was read; '' where there was none
-- ARGV[4]  what it is to hold; '' takes it out
-- ARGV[5]  event, for the journal
-- ARGV[6]  reason, for the journal
-- ARGV[7]  detail, for the journal
--
-- Returns  {'DONE', revision} | {'CHANGED'}: somebody else was faster, nothing was written
--
-- A call that comes again finds what it wrote itself and answers DONE.

write_even_when_full()

local held = redis.call('HGET', KEYS[9], ARGV[2]) or ''
if held == ARGV[4] then return {'DONE', redis.call('HGET', META, 'revision') or '0'} end
if held ~= ARGV[3] then return {'CHANGED'} end
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[9], ARGV[2])
else
  redis.call('HSET', KEYS[9], ARGV[2], ARGV[4])
end
local revision = redis.call('HINCRBY', META, 'revision', 1)
write_journal(ARGV[5], '', '', '', ARGV[6], ARGV[7])
return {'DONE', tostring(revision)}
