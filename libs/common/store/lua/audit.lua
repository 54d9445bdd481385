-- audit: find and heal lanes whose token was lost, and end what expired behind a head that waits.
--
-- Atomic because a token counts as lost only if fence, stream, group and pending list say so at one instant.
-- A lane whose records cannot be used is counted and left; the others are healed all the same.
--
-- KEYS[9..]  none
-- ARGV[2]    ms that ended records stay where a dead letter may be replayed
-- ARGV[3]    number of lanes named next as fenced
-- ARGV[4..]  lanes with a fence; then lanes that have a stream (with or without fence); then, after an empty
--            word, parked lanes in which to look for what expired
--
-- Returns  {tokens issued again, instructions expired, lanes that cannot be looked after, then per instruction that
--          expired: {alert, account, market, body, ms since it was admitted}}, of which the first thousand

write_even_when_full()

local keep_dead, fenced = ARGV[2], tonumber(ARGV[3])
local delivered = last_delivered()
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

local function drop_if_token(word)
  if string.match(word, '^%d+%-%d+$') then drop_token(word) end
end

local function reissue(lane, token)
  drop_if_token(token)
  issue_token(lane)
  write_journal('TOKEN', '', '', lane, 'reissued', token)
end

local healed, expired = 0, 0
local told, MOST_TOLD = {}, 1000

local function heal_fence(lane)
  local fence = redis.call('HGET', LANES, lane)
  if not fence or not is_lost(token_of(fence)) then return end
  if redis.call('EXISTS', PREFIX .. 'lane:' .. lane) == 1 then
    reissue(lane, token_of(fence))
    healed = healed + 1
  else
    redis.call('HDEL', LANES, lane)
    drop_if_token(token_of(fence))
  end
end

local function heal_stream(lane)
  if redis.call('HEXISTS', LANES, lane) == 0 and not redis.call('ZSCORE', PARKED, lane)
    and redis.call('EXISTS', PREFIX .. 'lane:' .. lane) == 1 then
    issue_token(lane)
    write_journal('TOKEN', '', '', lane, 'issued', '')
    healed = healed + 1
  end
end

local function expire_behind_head(lane)
  local lane_key = PREFIX .. 'lane:' .. lane
  if not redis.call('ZSCORE', PARKED, lane) then return end
  local entries = redis.call('XRANGE', lane_key, '-', '+', 'COUNT', 100)
  for n = 2, #entries do
    local fields = fields_of(entries[n])
    if not is_readable(fields) then
      dead_letter_unreadable(lane, lane_key, entries[n])
    elseif tonumber(fields.deadline) <= NOW then
      local known = read_instruction(fields)
      -- One that may have traded without a trace ends as the head of its lane, by what its venue says.
      if not must_be_looked_up(known.epoch, known.orders) then
        finish(lane, lane_key, entries[n][1], fields, known, 'EXPIRED', 'too_old', 'behind a head that waits',
          keep_dead, keep_dead)
        expired = expired + 1
        if #told < MOST_TOLD then
          told[#told + 1] = {fields.alert, fields.account, known.market or '', fields.body, age_of(known.key)}
        end
      end
    end
  end
end

-- A token that was replaced, delivered and then lost with its consumer is nobody's: no open will ever drop it.
-- The oldest of the stream are looked at, where such ones end up.
local function drop_orphans()
  for _, entry in ipairs(redis.call('XRANGE', READY, '-', delivered, 'COUNT', 100)) do
    local lane = fields_of(entry).lane
    local is_current = lane and token_of(redis.call('HGET', LANES, lane)) == entry[1]
    if not is_current and is_lost(entry[1]) then drop_token(entry[1]) end
  end
end

local look_after, failed = heal_fence, 0
for i = 4, #ARGV do
  if i == 4 + fenced then look_after = heal_stream end
  if ARGV[i] == '' then
    look_after = expire_behind_head
  elseif not pcall(look_after, ARGV[i]) then
    failed = failed + 1
  end
end
drop_orphans()
return {healed, expired, failed, unpack(told)}
