-- probe: write what an admission would be refused for, so that health tells the truth at the memory limit too.
--
-- KEYS[9]  probe  STRING, TTL 10 s
--
-- Returns  {bytes used, bytes of memory}

redis.call('SET', KEYS[9], NOW_TEXT, 'PX', 10000)
local used, of = memory()
return {text(used), text(of)}
