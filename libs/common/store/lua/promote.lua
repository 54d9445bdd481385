-- promote: give parked lanes that are due a token again, at the tail of those that are ready.
--
-- Atomic because a lane that is neither parked nor has a token would wait for ever. When the clock has stepped
-- back since the last pass, due times move back with it, those of open breakers and of resting orders too.
--
-- ARGV[2]  the most in one pass
--
-- Returns  {lanes promoted, ms until the next is due or -1}

write_even_when_full()

local past = tonumber(redis.call('HGET', META, 'promoted_at') or '')
local step = past and past - NOW or 0
if step > 0 then
  local all = redis.call('ZRANGE', PARKED, 0, -1)
  for _, lane in ipairs(all) do redis.call('ZINCRBY', PARKED, -step, lane) end
  for _, order in ipairs(redis.call('ZRANGE', FOLLOWING, 0, -1)) do redis.call('ZINCRBY', FOLLOWING, -step, order) end
  local breakers = redis.call('HGETALL', BREAKERS)
  for i = 1, #breakers, 2 do
    local state, generation, reset_at, probe_until = string.match(breakers[i + 1], '^(%a+)|(%d+)|(%d+)|(%d+)$')
    if state and state ~= 'closed' then
      redis.call('HSET', BREAKERS, breakers[i], state .. '|' .. generation .. '|' .. text(math.max(0, reset_at - step))
        .. '|' .. text(math.max(0, probe_until - step)))
    end
  end
end
if not past or step > 0 or NOW - past >= 100 then redis.call('HSET', META, 'promoted_at', NOW_TEXT) end

local due = redis.call('ZRANGEBYSCORE', PARKED, '-inf', NOW_TEXT, 'LIMIT', 0, ARGV[2])
local promoted = 0
for _, lane in ipairs(due) do
  redis.call('ZREM', PARKED, lane)
  if redis.call('EXISTS', PREFIX .. 'lane:' .. lane) == 1 and redis.call('HEXISTS', LANES, lane) == 0 then
    issue_token(lane)
    promoted = promoted + 1
  end
end
local first = redis.call('ZRANGE', PARKED, 0, 0, 'WITHSCORES')
return {promoted, first[2] and math.max(0, math.ceil(tonumber(first[2]) - NOW)) or -1}
