-- retire: delete consumers of processes that are gone.
--
-- Atomic because deleting a consumer drops its pending entries for good: it must have none at that instant.
--
-- KEYS[9]  workers  ZSET  holder -> last time it checked in, ms
-- ARGV[2]  ms without a check-in or a delivery after which a consumer counts as gone
--
-- Returns  consumers deleted

write_even_when_full()

redis.call('ZREMRANGEBYSCORE', KEYS[9], '-inf', text(NOW - tonumber(ARGV[2])))
local gone = 0
if not has_group() then return 0 end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', READY, GROUP)) do
  local facts = {}
  for i = 1, #consumer, 2 do facts[consumer[i]] = consumer[i + 1] end
  if facts.pending == 0 and facts.idle > tonumber(ARGV[2]) and not redis.call('ZSCORE', KEYS[9], facts.name)
    and #redis.call('XPENDING', READY, GROUP, '-', '+', 1, facts.name) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', READY, GROUP, facts.name)
    gone = gone + 1
  end
end
return gone
