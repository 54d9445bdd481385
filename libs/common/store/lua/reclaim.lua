-- reclaim: issue new tokens for lanes whose lease ran out.
--
-- XAUTOCLAIM and reissue are one script, so that a renewal cannot come between them. After time went back, or
-- when more than half a lease passed since the last pass, Redis was down or frozen and every lease aged without
-- a chance to be renewed: all leases then start afresh.
--
-- ARGV[2]  lease ms
-- ARGV[3]  the reaper's consumer name
-- ARGV[4]  the most in one pass
--
-- Returns  {'OK', lanes reclaimed, tokens dropped} | {'GRACE', leases started afresh}

write_even_when_full()

local lease, reaper, most = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
if redis.call('EXISTS', READY) == 0 then
  redis.call('HSET', META, 'reclaimed_at', text(NOW))
  return {'OK', 0, 0}
end
local past = tonumber(redis.call('HGET', META, 'reclaimed_at'))
redis.call('HSET', META, 'reclaimed_at', text(NOW))
if not past or NOW < past or NOW - past > lease / 2 then
  local from, afresh = '-', 0
  while true do
    local pending = redis.call('XPENDING', READY, GROUP, from, '+', 500)
    for _, one in ipairs(pending) do
      redis.call('XCLAIM', READY, GROUP, one[2], 0, one[1], 'JUSTID')
      afresh = afresh + 1
    end
    if #pending < 500 then break end
    from = '(' .. pending[#pending][1]
  end
  return {'GRACE', afresh}
end

local reclaimed, dropped, cursor = 0, 0, '0-0'
repeat
  local answer = redis.call('XAUTOCLAIM', READY, GROUP, reaper, lease, cursor, 'COUNT', 100, 'JUSTID')
  cursor = answer[1]
  for _, token in ipairs(answer[2]) do
    local entry = redis.call('XRANGE', READY, token, token)[1]
    local lane = entry and fields_of(entry).lane
    if lane and token_of(redis.call('HGET', LANES, lane)) == token then
      local head, fields = head_of(lane, PREFIX .. 'lane:' .. lane)
      if head then
        local key = instruction_key(fields.alert, fields.account)
        if redis.call('HGET', key, 'running') == token then
          redis.call('HINCRBY', key, 'lost_holders', 1)
          record(key, 'RECLAIMED', fields.alert, fields.account, lane, 'lost_holder', token, {'running', ''})
        end
        drop_token(token)
        issue_token(lane)
        reclaimed = reclaimed + 1
      else
        close_lane(lane, PREFIX .. 'lane:' .. lane, token)
      end
    else
      drop_token(token)
      dropped = dropped + 1
    end
  end
until cursor == '0-0' or reclaimed + dropped >= most
return {'OK', reclaimed, dropped}
