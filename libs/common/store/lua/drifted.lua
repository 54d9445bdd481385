-- drifted: journal an order that the venue and our records tell different things of, once while that lasts.
--
-- Atomic because a mark without its entry in the journal would keep the drift from being told at all.
--
-- KEYS[9]  drift  STRING  marks what was told
-- ARGV[2]  account
-- ARGV[3]  lane
-- ARGV[4]  what differs, in words
-- ARGV[5]  ms that the mark lasts
--
-- Returns  1 where it was not told before, else 0

write_even_when_full()

local is_new = not redis.call('GET', KEYS[9])
redis.call('SET', KEYS[9], NOW_TEXT, 'PX', ARGV[5])
if is_new then write_journal('DRIFT', '', ARGV[2], ARGV[3], 'order', ARGV[4]) end
return is_new and 1 or 0
