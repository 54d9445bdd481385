-- audit: find and heal lanes whose token was lost, and end what expired behind a head that waits.
--
-- Atomic because a token counts as lost only if fence, stream, group and pending list say so at one instant.
--
-- KEYS[9..]  none
-- ARGV[2]    ms that ended records stay where a dead letter may be replayed
-- ARGV[3]    number of lanes named next as fenced
-- ARGV[4..]  lanes with a fence; then lanes that have a stream (with or without fence); then, after an empty
--            word, parked lanes in which to look for what expired
--
-- Returns  {tokens issued again, instructions expired}

write_even_when_full()

local keep_dead, fenced = ARGV[2], tonumber(ARGV[3])
local groups = redis.call('EXISTS', READY) == 1 and redis.call('XINFO', 'GROUPS', READY) or {}
local delivered
for _, group in ipairs(groups) do
  local facts = {}
  for i = 1, #group, 2 do facts[group[i]] = group[i + 1] end
  if facts.name == GROUP then delivered = facts['last-delivered-id'] end
end
if not delivered then
  redis.call('XGROUP', 'CREATE', READY, GROUP, '0', 'MKSTREAM')
  delivered = '0-0'
end

local function at_or_before(id, other)
  local a, b = string.match(id, '^(%d+)-(%d+)$')
  local c, d = string.match(other, '^(%d+)-(%d+)$')
  a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
  return a < c or (a == c and b <= d)
end

local function is_lost(token)
  if not string.match(token, '^%d+%-%d+$') then return true end
  if #redis.call('XRANGE', READY, token, token) == 0 then return true end
  return at_or_before(token, delivered) and #redis.call('XPENDING', READY, GROUP, token, token, 1) == 0
end

local function reissue(lane, token)
  if string.match(token, '^%d+%-%d+$') then drop_token(token) end
  issue_token(lane)
  write_journal('TOKEN', '', '', lane, 'reissued', token)
end

local healed, expired, a = 0, 0, 4
while a <= 3 + fenced do
  local lane = ARGV[a]
  local fence = redis.call('HGET', LANES, lane)
  if fence and is_lost(token_of(fence)) then
    if redis.call('EXISTS', PREFIX .. 'lane:' .. lane) == 1 then
      reissue(lane, token_of(fence))
      healed = healed + 1
    else
      redis.call('HDEL', LANES, lane)
    end
  end
  a = a + 1
end
while a <= #ARGV and ARGV[a] ~= '' do
  local lane = ARGV[a]
  if redis.call('HEXISTS', LANES, lane) == 0 and not redis.call('ZSCORE', PARKED, lane)
    and redis.call('EXISTS', PREFIX .. 'lane:' .. lane) == 1 then
    issue_token(lane)
    write_journal('TOKEN', '', '', lane, 'issued', '')
    healed = healed + 1
  end
  a = a + 1
end
for i = a + 1, #ARGV do
  local lane = ARGV[i]
  local lane_key = PREFIX .. 'lane:' .. lane
  if redis.call('ZSCORE', PARKED, lane) then
    local entries = redis.call('XRANGE', lane_key, '-', '+', 'COUNT', 100)
    for n = 2, #entries do
      local fields = fields_of(entries[n])
      if not is_readable(fields) then
        bury(lane, lane_key, entries[n])
      elseif tonumber(fields.deadline) <= NOW then
        finish(lane, lane_key, entries[n][1], fields, 'EXPIRED', 'too_old', 'behind a head that waits', keep_dead, keep_dead)
        expired = expired + 1
      end
    end
  end
end
return {healed, expired}
