-- take_turn: let one of several reapers do what one is enough for, until it stops asking.
--
-- Atomic because two that find the turn free must not both have it.
--
-- KEYS[9]  turn  STRING  whose it is
-- ARGV[2]  who asks
-- ARGV[3]  ms that the turn lasts
--
-- Returns  1 where it has the turn, else 0

write_even_when_full()

local holder = redis.call('GET', KEYS[9])
if holder and holder ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[9], ARGV[2], 'PX', ARGV[3])
return 1
