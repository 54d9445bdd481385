-- learn: note how far a stream was read, with what was learned from it.
--
-- Atomic because what was read must count once: a cursor without what was learned loses it, and the other way round it
-- counts again. Whoever began where somebody else has been since writes nothing.
--
-- KEYS[9]   watch    HASH  cursor -> id of the last entry that was read
-- KEYS[10]  learned  HASH  where what was learned goes
-- ARGV[2]   cursor
-- ARGV[3]   what it was when reading began; '' where there was none
-- ARGV[4]   what it is now
-- ARGV[5..] pairs of a field and its value; '' takes it out
--
-- Returns  'DONE' | 'STALE': somebody else has read on meanwhile
--
-- A call that comes again finds what it wrote itself and answers DONE.

write_even_when_full()

local held = redis.call('HGET', KEYS[9], ARGV[2]) or ''
if held ~= ARGV[3] and held ~= ARGV[4] then return 'STALE' end
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[10], ARGV[i])
  else
    redis.call('HSET', KEYS[10], ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[9], ARGV[2], ARGV[4])
return 'DONE'
