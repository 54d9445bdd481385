-- check_in: note that a worker is alive.
--
-- A consumer's idle time does not tell: on Redis before 7.2 a worker that waits for work looks like one that is gone.
-- A script because the time must be Redis' own.
--
-- KEYS[9]  workers  ZSET  holder -> last time, ms
-- ARGV[2]  holder
--
-- Returns  'OK'

write_even_when_full()

redis.call('ZADD', KEYS[9], NOW_TEXT, ARGV[2])
return 'OK'
