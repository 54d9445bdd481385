-- What `begin`, `settle` and `take` share: the last word before an order may leave, and its intent on disk.
--
-- Checks in order: whether Redis may have forgotten an attempt, state of the order, halts, age, breakers, rate limits,
-- account-wide risk limits. A call re-sent after a lost reply (same attempt, same nonce) gets the same GO and is not
-- charged again.
--
-- Limits are reserved, not refused: a lane that must wait is told until when, and that slot stays its own
-- (`slot` of the instruction: attempt|symbol due|account due|kept at|is late, microseconds). A lane that comes late
-- to its slot, because its worker died, would bunch with others: so what actually leaves passes a second gate of the
-- same rate, which answers a short wait with GO, and a longer one with WAIT and a slot among those that came late:
-- without one, all that were late together would ask again together.
--
-- Account-wide risk limits (`budgets`, JSON) are held against what the worker read at the venue plus all that other
-- orders of the account reserved and that its reading cannot have seen: so many lanes at one instant do not each see
-- the same free budget. The reservation is released when the instruction ends.

-- How long a lane waits in place at most, and how long the one probe of a half-open breaker has: arguments of each script.
local LONGEST_WAIT_US, PROBE_MS

-- A bucket is `tat|gate|late|seen`: theoretical arrival time of the reservations, of what left, and of what is to
-- leave late, and the last time it was written, all microseconds.
local function save_bucket(bucket)
  local full_in = math.max(bucket.tat, bucket.gate, bucket.late) - NOW_US
  redis.call('SET', bucket.key, text(bucket.tat) .. '|' .. text(bucket.gate) .. '|' .. text(bucket.late) .. '|'
    .. text(NOW_US), 'PX', text(math.max(0, math.ceil(full_in / 1000)) + 60000))
end

-- When the clock has stepped back, all times move back with it; at once on disk, or they would recede as it goes.
local function load_bucket(limit)
  local tat, gate, late, seen = string.match(redis.call('GET', limit.key) or '', '^(%d+)|(%d+)|(%d+)|(%d+)$')
  local bucket = {key = limit.key, interval = limit.interval, burst = limit.burst,
    tat = tonumber(tat) or 0, gate = tonumber(gate) or 0, late = tonumber(late) or 0}
  local step = (tonumber(seen) or NOW_US) - NOW_US
  if step > 0 then
    for _, time in ipairs({'tat', 'gate', 'late'}) do bucket[time] = math.max(0, bucket[time] - step) end
    save_bucket(bucket)
  end
  return bucket
end

-- Reserves a slot and returns when it is due, us; nil where that would be past `latest`.
local function reserve(bucket, latest)
  local tat = math.max(bucket.tat, NOW_US)
  local due = math.max(NOW_US, tat - (bucket.burst - 1) * bucket.interval)
  if due > latest then return nil end
  bucket.tat = tat + bucket.interval
  return due
end

-- How long what would leave now must still wait, us: for what left, and unless it has its own slot among those that
-- are late, for these.
local function gate_wait(buckets, is_late)
  local wait = 0
  for _, bucket in pairs(buckets) do
    local full_at = is_late and bucket.gate or math.max(bucket.gate, bucket.late)
    wait = math.max(wait, full_at - (bucket.burst - 1) * bucket.interval - NOW_US)
  end
  return wait
end

-- Counts one by when it leaves: after the longest wait of all its gates.
local function count_in(bucket, time, leaves_at)
  bucket[time] = math.max(bucket.gate, bucket[time], leaves_at) + bucket.interval
  save_bucket(bucket)
end

-- Asks a breaker by its record: nil to go on, else the time to wait for, ms. Grants the one probe where it is half
-- open.
local function ask_breaker(known, may_pass)
  if not known then return nil, '0', '0' end
  local state, generation, reset_at, probe_until = string.match(known, '^([^|]*)|([^|]*)|([^|]*)|([^|]*)$')
  if state ~= 'open' or may_pass then return nil, generation or '0', '0' end
  if NOW < tonumber(reset_at) then return tonumber(reset_at) end
  if NOW < tonumber(probe_until) then return tonumber(probe_until) end
  return nil, generation, '1', 'open|' .. generation .. '|' .. reset_at .. '|' .. text(NOW + PROBE_MS)
end

-- A venue that said when to come back is obeyed by all lanes of the account: until when, or nil.
local function paused_until(known)
  local until_ms = tonumber(string.match(known or '', '^paused|%d+|(%d+)|') or '')
  return until_ms and NOW < until_ms and until_ms or nil
end

-- How long the released reservations are remembered: no reading is older, and the orders of a minute are counted.
local REMEMBERED_MS = 120000

-- Holds budgets against reservations: nil where all fit, else the one that does not; reserves where they do.
local function reserve_budgets(account, order, budgets, read_at)
  local key = risk_key(account)
  local held = {orders = 0, value = 0, minute = 0}
  local all = redis.call('HGETALL', key)
  for n = 1, #all, 2 do
    local at, value, may_rest, released = string.match(all[n + 1], '^(%d+)|([^|]*)|([01])|(%d+)$')
    at, released = tonumber(at) or 0, tonumber(released) or 0
    if released > 0 and released < NOW - REMEMBERED_MS then
      redis.call('HDEL', key, all[n])
    elseif all[n] ~= order then
      -- What is from before the clock stepped back says nothing about this minute, and was released long ago.
      if at > NOW - 60000 and at <= NOW then held.minute = held.minute + 1 end
      if released > NOW then released = read_at - 1 end
      if released == 0 or released >= read_at then
        if may_rest == '1' then held.orders = held.orders + 1 end
        held.value = held.value + (tonumber(value) or 0)
      end
    end
  end
  local adds, may_rest = '0', '0'
  for _, budget in ipairs(budgets) do
    local value = tonumber(budget.base) + held[budget.measure] + tonumber(budget.add)
    -- Sums of money in Lua's numbers: what fits exactly must not fail by their last digit.
    if value > tonumber(budget.limit) * (1 + 1e-12) then
      return {'RISK', budget.rule, tostring(budget.limit), string.format('%.12g', value)}
    end
    if budget.measure == 'value' then adds = tostring(budget.add) end
    -- Only what may rest is a resting order in the end: market orders under way are none.
    if budget.measure == 'orders' then may_rest = '1' end
  end
  redis.call('HSET', key, order, NOW_TEXT .. '|' .. adds .. '|' .. may_rest .. '|0')
  return nil
end

-- The intent whose keys begin at KEYS[k] and whose arguments begin at ARGV[a]:
-- KEYS  order HASH, symbol's bucket, account's bucket
-- ARGV  entry id, client order id, attempt, nonce, window ms, plan of the leg, plan of all legs or '' where it is the
--       only one, symbol interval us or 0 (no limit), symbol burst, account interval us or 0, account burst, market,
--       strategy, flags (x: an exit, b: passes open breakers, y: its lease is young and not renewed, n: what is behind
--       it is wanted with GO), note for the journal, budgets, read at ms
local function intent_at(k, a)
  local flags = ARGV[a + 13]
  local function has(flag) return string.find(flags, flag, 1, true) end
  return {
    order_key = KEYS[k], entry = ARGV[a], order = ARGV[a + 1], attempt = ARGV[a + 2], nonce = ARGV[a + 3],
    window = tonumber(ARGV[a + 4]), plan = ARGV[a + 5], whole_plan = ARGV[a + 6],
    limits = {
      {interval = tonumber(ARGV[a + 7]), burst = tonumber(ARGV[a + 8]), key = KEYS[k + 1]},
      {interval = tonumber(ARGV[a + 9]), burst = tonumber(ARGV[a + 10]), key = KEYS[k + 2]},
    },
    market = ARGV[a + 11], strategy = ARGV[a + 12],
    is_exit = has('x'), may_pass = has('b'), is_lease_young = has('y'), wants_successor = has('n'),
    note = ARGV[a + 14], budgets = ARGV[a + 15], read_at = tonumber(ARGV[a + 16]),
  }
end

-- What beginning the instruction of a head takes, read at once.
local function read_head(fields)
  local key = instruction_key(fields.alert, fields.account)
  local known = redis.call('HMGET', key, 'epoch', 'slot', 'orders', 'journal', 'running', 'plan', 'lost_holders',
    'admitted_at', 'state')
  return {key = key, epoch = known[1], slot = known[2] or '', orders = known[3], journal = known[4], running = known[5],
    plan = known[6] or '', lost_holders = known[7] or '0', admitted_at = known[8] or '0', state = known[9]}
end

-- Begins the head of a lane that is held. `fields` are those of its entry, `of_head` what `read_head` says of it,
-- `successor` is the entry behind it, if any. Answers as `begin` does.
local function begin_order(lane, token, holder, fields, of_head, intent, successor)
  local order, attempt, nonce, order_key = intent.order, intent.attempt, intent.nonce, intent.order_key
  local market, key = intent.market, of_head.key
  local behind = intent.wants_successor and successor or nil
  local known = redis.call('HMGET', order_key, 'state', 'attempt', 'nonce', 'expires_at', 'granted', 'cleared')
  if is_suspect(of_head.epoch) and not is_cleared(known[6]) then return {'STATE'} end
  if known[1] == 'SENDING' and known[2] == attempt and known[3] == nonce then
    renew_lease(token, holder)
    local go = {'GO', known[4], '0', text(tonumber(known[4]) - NOW), '0', '0', '0', '0', behind}
    local at = {3, 5, 6, 7, 8}
    -- One word less where an older worker wrote it, who knew no breaker of an account.
    for word in string.gmatch(known[5] or '', '[^|]+') do go[table.remove(at, 1)] = word end
    return go
  end
  local may_send = (not known[1] or known[1] == 'NOT_EXECUTED') and (tonumber(known[2]) or 0) == tonumber(attempt) - 1
  if not may_send then return {'STATE'} end
  local deadline = tonumber(fields.deadline)
  local halt, words = halted(fields.account, intent.strategy, market, intent.is_exit)
  if halt == 'reject' then return {'HALTED', words} end
  if NOW >= deadline then return {'EXPIRED'} end

  local function wait_until(at_ms, reason, detail)
    redis.call('HSET', key, 'running', '')
    return {'WAIT', text(math.min(at_ms, deadline)), reason, NOW_TEXT, detail or ''}
  end
  if halt then return wait_until(NOW + HALTED_MS, 'halted', words) end

  local scope, account_scope = fields.account .. ':' .. market, fields.account
  local breakers = redis.call('HMGET', BREAKERS, scope, account_scope, account_scope .. '|pause')
  local paused = paused_until(breakers[3])
  if paused then return wait_until(paused, 'throttled') end
  local reset_at, generation, is_probe, granted = ask_breaker(breakers[1], intent.may_pass)
  if reset_at then return wait_until(reset_at, 'breaker_open') end
  local account_reset_at, account_generation, is_account_probe, account_granted = ask_breaker(breakers[2], intent.may_pass)
  if account_reset_at then return wait_until(account_reset_at, 'breaker_open', 'of the whole account') end

  -- A slot is one leg's, and one attempt's.
  local slot_of = attempt .. '@' .. order
  local slot_attempt, symbol_due, account_due, kept_at, late = string.match(
    of_head.slot, '^([^|]*)|([^|]*)|([^|]*)|(%d+)|([01])$')
  -- A slot from before the clock stepped back would be due far too late.
  local is_reserved = slot_attempt == slot_of and tonumber(kept_at) <= NOW_US
  local is_late = is_reserved and late == '1'
  local due = is_reserved and {tonumber(symbol_due), tonumber(account_due)} or {}
  local function keep_slot(is_late_now)
    redis.call('HSET', key, 'slot', slot_of .. '|' .. text(due[1] or 0) .. '|' .. (due[2] and text(due[2]) or '')
      .. '|' .. text(NOW_US) .. '|' .. (is_late_now and '1' or '0'))
  end
  local buckets = {}
  for n, limit in ipairs(intent.limits) do
    if limit.interval > 0 then buckets[n] = load_bucket(limit) end
  end
  for n = 1, 2 do
    local bucket = buckets[n]
    if bucket then
      if not due[n] then
        due[n] = reserve(bucket, deadline * 1000)
        if not due[n] then return wait_until(deadline, 'rate_limit') end
        save_bucket(bucket)
        if due[n] > NOW_US then keep_slot(false) end
      end
      if due[n] > NOW_US then return wait_until(math.ceil(due[n] / 1000), 'rate_limit') end
    elseif not due[n] then
      due[n] = 0
    end
  end
  local leaves_in = gate_wait(buckets, is_late)
  local is_too_late = leaves_in > LONGEST_WAIT_US
  if is_too_late then leaves_in = gate_wait(buckets, false) end
  local wait = math.ceil(leaves_in / 1000)
  local leaves_at = NOW_US + wait * 1000
  if leaves_at >= deadline * 1000 then return wait_until(deadline, 'rate_limit') end
  if is_too_late then
    for n, bucket in pairs(buckets) do
      count_in(bucket, 'late', leaves_at)
      due[n] = leaves_at
    end
    keep_slot(true)
    return wait_until(math.ceil(leaves_at / 1000), 'rate_limit')
  end
  if intent.budgets ~= '' then
    local refused = reserve_budgets(fields.account, order, cjson.decode(intent.budgets), intent.read_at)
    if refused then return refused end
  end
  for _, bucket in pairs(buckets) do count_in(bucket, 'gate', leaves_at) end
  if granted then redis.call('HSET', BREAKERS, scope, granted) end
  if account_granted then redis.call('HSET', BREAKERS, account_scope, account_granted) end

  local expires_at = text(math.min(NOW + wait + intent.window, deadline))
  -- A plan of which certainly nothing was executed may have been made anew.
  local sending = {'state', 'SENDING', 'attempt', attempt, 'nonce', nonce, 'signed_at', NOW_TEXT,
    'expires_at', expires_at, 'misses', '0', 'alert', fields.alert, 'account', fields.account, 'lane', lane,
    'market', market, 'granted', text(wait) .. '|' .. generation .. '|' .. is_probe .. '|' .. account_generation
      .. '|' .. is_account_probe, 'plan', intent.plan}
  local traceparent = traceparent_of(fields.body)
  if traceparent then sending[#sending + 1], sending[#sending + 2] = 'traceparent', traceparent end
  redis.call('HSET', order_key, unpack(sending))
  -- Only a record that is there already can have an expiry.
  if known[1] then redis.call('PERSIST', order_key) end
  local stored_plan = intent.whole_plan ~= '' and intent.whole_plan or intent.plan
  local extra = {'state', 'ACTIVE', 'attempts', attempt, 'plan', stored_plan}
  if not known[1] then
    extra[#extra + 1], extra[#extra + 2] = 'orders', of_head.orders and (of_head.orders .. ' ' .. order) or order
  end
  if of_head.running ~= token then extra[#extra + 1], extra[#extra + 2] = 'running', token end
  if intent.budgets ~= '' then extra[#extra + 1], extra[#extra + 2] = 'reserved', '1' end
  record(key, 'SENDING', fields.alert, fields.account, lane, order, attempt, extra, intent.note, of_head.journal)
  if not intent.is_lease_young then renew_lease(token, holder) end
  return {'GO', expires_at, text(wait), text(tonumber(expires_at) - NOW), generation, is_probe, account_generation,
    is_account_probe, behind}
end

-- Hands out the head of a lane, or begins it, where an intent is about it, and nobody has begun it or failed on it
-- before: {'BEGUN', entry id, now ms, admitted at ms, was it never handed out before 1|0, {...} as `begin` answers}.
local function begin_or_hand_out(lane, lane_key, token, holder, head, successor, intent)
  if not intent or not head then return hand_out(lane, lane_key, token, head) end
  local fields = fields_of(head)
  if not is_readable(fields) then return hand_out(lane, lane_key, token, head) end
  local known = read_head(fields)
  local is_untouched = not known.orders and known.plan == ''
  -- By the same call, before its answer was lost: it tells by its nonce.
  local may_be_begun = is_untouched or known.orders == intent.order
  if not may_be_begun or known.lost_holders ~= '0' or is_suspect(known.epoch) then
    return hand_out(lane, lane_key, token, head)
  end
  local ok, begun = pcall(begin_order, lane, token, holder, fields, known, intent, successor)
  -- What fails here fails whoever begins it by itself, and counts against it then.
  if not ok then return hand_out(lane, lane_key, token, head) end
  if begun[1] ~= 'GO' then redis.call('HSET', known.key, 'state', 'ACTIVE') end
  return {'BEGUN', head[1], NOW_TEXT, known.admitted_at, known.state == 'QUEUED' and '1' or '0', begun}
end
