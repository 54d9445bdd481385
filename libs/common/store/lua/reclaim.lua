-- reclaim: issue new tokens for lanes whose lease ran out.
--
-- XAUTOCLAIM and reissue are one script, so that a renewal cannot come between them. After time went back, or
-- when more than half a lease passed since the last pass, Redis was down or frozen and every lease aged without
-- a chance to be renewed: all leases then start afresh. A lane whose records cannot be used keeps its own token
-- pending, to be tried again after a lease; it must not keep the others from being reclaimed.
--
-- ARGV[2]  lease ms
-- ARGV[3]  the reaper's consumer name
-- ARGV[4]  the most in one pass
-- ARGV[5]  ms until the next pass
--
-- Returns  {'OK', lanes reclaimed, tokens dropped, lanes that cannot be, ms until the next lease runs out where that is
--          before the next pass or -1, then per instruction that was running: {alert, account, market, body, ms since
--          it was admitted, lost holders}} | {'GRACE', leases started afresh}

write_even_when_full()

local lease, reaper, most = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
if not has_group() then
  redis.call('HSET', META, 'reclaimed_at', NOW_TEXT)
  return {'OK', 0, 0, 0, -1}
end
local past = tonumber(redis.call('HGET', META, 'reclaimed_at'))
redis.call('HSET', META, 'reclaimed_at', NOW_TEXT)
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

local reclaimed, dropped, failed, cursor = 0, 0, 0, '0-0'
local told = {}

local function reissue(token)
  local entry = redis.call('XRANGE', READY, token, token)[1]
  local lane = entry and fields_of(entry).lane
  if not lane or token_of(redis.call('HGET', LANES, lane)) ~= token then
    drop_token(token)
    dropped = dropped + 1
    return
  end
  local head, fields = head_of(lane, PREFIX .. 'lane:' .. lane)
  if not head then
    close_lane(lane, PREFIX .. 'lane:' .. lane, token)
    return
  end
  local key = instruction_key(fields.alert, fields.account)
  if redis.call('HGET', key, 'running') == token then
    local lost = redis.call('HINCRBY', key, 'lost_holders', 1)
    record(key, 'RECLAIMED', fields.alert, fields.account, lane, 'lost_holder', token, {'running', ''})
    local market = redis.call('HGET', key, 'market') or ''
    told[#told + 1] = {fields.alert, fields.account, market, fields.body, age_of(key), text(lost)}
  end
  drop_token(token)
  issue_token(lane)
  reclaimed = reclaimed + 1
end

repeat
  local answer = redis.call('XAUTOCLAIM', READY, GROUP, reaper, lease, cursor, 'COUNT', 100, 'JUSTID')
  cursor = answer[1]
  for _, token in ipairs(answer[2]) do
    if not pcall(reissue, token) then failed = failed + 1 end
  end
until cursor == '0-0' or reclaimed + dropped >= most

-- Of leases that are renewed as they should be there are none: a look ahead costs nothing until a holder is late.
local next_in = -1
local idle = math.max(0, lease - tonumber(ARGV[5]))
for _, one in ipairs(redis.call('XPENDING', READY, GROUP, 'IDLE', idle, '-', '+', 100)) do
  local left = math.max(0, lease - one[3])
  if next_in < 0 or left < next_in then next_in = left end
end
return {'OK', reclaimed, dropped, failed, next_in, unpack(told)}
