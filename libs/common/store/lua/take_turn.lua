-- take_turn: let one of several reapers do what one is enough for, until it stops asking.
--
-- Atomic because two that find the turn free must not both have it.
--
-- KEYS[9]  turn  HASH  whose it is
-- ARGV[2]  who asks
-- ARGV[3]  ms that the turn lasts
--
-- Returns  1 where it has the turn, else 0

write_even_when_full()

-- A hash, for users may SET a key of any type to something else, and the reaper's may not.
local holder = redis.call('HGET', KEYS[9], 'holder')
if holder and holder ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[9], 'holder', ARGV[2])
redis.call('PEXPIRE', KEYS[9], ARGV[3])
return 1
