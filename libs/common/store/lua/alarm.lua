-- alarm: raise an alarm or clear it, and tell of it once, whatever number of reapers sees the same.
--
-- Atomic because a state without its entry in the journal and its notice would never be told, and because of several
-- reapers that see the same change one alone must tell it.
--
-- KEYS[9]   alarms   HASH    name -> raised at|confirmed at|detail
-- KEYS[10]  notices  STREAM  each change, for whoever is to know
-- ARGV[2]   name: kind:subject
-- ARGV[3]   raised | cleared
-- ARGV[4]   detail
-- ARGV[5]   notices kept, about
--
-- Returns  'CHANGED' | 'SAME': it was raised, or was not, before; one that is raised again is confirmed
--
-- A call that comes again answers SAME: it was done.

write_even_when_full()

local held = redis.call('HGET', KEYS[9], ARGV[2])
if ARGV[3] == 'raised' and held then
  local raised_at, detail = string.match(held, '^(%d+)|%d*|(.*)$')
  redis.call('HSET', KEYS[9], ARGV[2], (raised_at or text(NOW)) .. '|' .. text(NOW) .. '|' .. (detail or ARGV[4]))
  return 'SAME'
end
if ARGV[3] == 'cleared' and not held then return 'SAME' end
-- A stream of a wrong type fails here, before anything else is written.
redis.call('XADD', KEYS[10], 'MAXLEN', '~', ARGV[5], '*', 'name', ARGV[2], 'change', ARGV[3], 'detail', ARGV[4])
write_journal('ALARM', '', '', '', ARGV[3], ARGV[2] .. ': ' .. ARGV[4])
if ARGV[3] == 'raised' then
  redis.call('HSET', KEYS[9], ARGV[2], text(NOW) .. '|' .. text(NOW) .. '|' .. ARGV[4])
else
  redis.call('HDEL', KEYS[9], ARGV[2])
end
return 'CHANGED'
