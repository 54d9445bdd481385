-- follow: claim orders that rest at a venue and are due to be looked up.
--
-- Atomic because two workers that took one order at one instant would both report its fills; and because an order
-- whose due time moved on without a claim would be looked up by nobody until then. The due time of a claimed order is
-- the end of its lease: with its holder gone it is due again.
--
-- An account that has no room here puts its orders off a little, so that those behind them come to the front. A call
-- sent again claims others; what the first one claimed comes due when its lease runs out.
--
-- KEYS[9]    following  ZSET  client order id -> when it is due, ms
-- ARGV[2]    claim: names this call, and nobody else's
-- ARGV[3]    lease ms
-- ARGV[4]    most orders to claim
-- ARGV[5]    ms that an ended order's record stays
-- ARGV[6..]  account, how many orders of it may be claimed
--
-- Returns {now ms, ms until the next is due or -1, orders followed, orders whose records cannot be used,
--          then per claimed order: {client order id, account, market, alert, state, plan, answer or '', signed at ms,
--          look-ups that found nothing, since ms, is known to be lost 1|0, cancelled at ms, traceparent or '', the
--          encoded alert or '', admitted at ms or 0}}

write_even_when_full()

local claim, lease, most, kept = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local ENDED = {FILLED = true, REJECTED = true, CANCELED = true, EXPIRED = true}

-- Without room here, ms; where no such account is configured here, as in a rolling update; and with a record that
-- cannot be used, which only an operator can mend.
local BUSY, STRANGE, BROKEN = 250, 5000, 60000

local rooms = {}
for a = 6, #ARGV, 2 do rooms[ARGV[a]] = tonumber(ARGV[a + 1]) end

local function put_off(order, by) redis.call('ZADD', FOLLOWING, text(NOW + by), order) end

local function take(order)
  local key = PREFIX .. 'order:' .. order
  local known = redis.call('HMGET', key, 'account', 'market', 'alert', 'state', 'plan', 'answer', 'signed_at',
    'absent', 'absent_since', 'is_lost', 'cancelled_at', 'traceparent')
  local state = known[4]
  if not RESTING[state] then
    -- It has ended by another way, or its record is gone.
    redis.call('ZREM', FOLLOWING, order)
    if not state then write_journal('ORDER_LOST', '', '', '', order, 'its record is gone') end
    if ENDED[state] and redis.call('PTTL', key) == -1 then redis.call('PEXPIRE', key, kept) end
    return nil
  end
  local account = known[1]
  local room = rooms[account]
  if not room or room <= 0 then
    put_off(order, room and BUSY or STRANGE)
    return nil
  end
  local market = known[2] or redis.call('HGET', instruction_key(known[3], account), 'market')
  -- What is missing fails here, before anything is written.
  local found = {order, account, market .. '', known[3] .. '', state, known[5] .. '', known[6] or '', known[7] .. '',
    known[8] or '0', known[9] or '0', known[10] or '0', known[11] or '0', known[12] or ''}
  -- What nothing depends on: its record may be gone by now, or spoiled.
  local told = redis.pcall('HMGET', PREFIX .. 'alert:' .. known[3], 'alert', 'admitted_at')
  found[14], found[15] = told[1] or '', told[2] or '0'
  put_off(order, lease)
  redis.call('HSET', key, 'follower', claim)
  rooms[account] = room - 1
  return found
end

local claimed, failed = {}, 0
for _, order in ipairs(redis.call('ZRANGEBYSCORE', FOLLOWING, '-inf', text(NOW), 'LIMIT', 0, 500)) do
  if #claimed >= most then break end
  local ok, found = pcall(take, order)
  if not ok then
    failed = failed + 1
    put_off(order, BROKEN)
  elseif found then
    claimed[#claimed + 1] = found
  end
end

local first = redis.call('ZRANGE', FOLLOWING, 0, 0, 'WITHSCORES')
local wait = first[2] and text(math.max(0, tonumber(first[2]) - NOW)) or '-1'
return {text(NOW), wait, text(redis.call('ZCARD', FOLLOWING)), text(failed), unpack(claimed)}
