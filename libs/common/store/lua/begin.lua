-- begin: the last word before an order may leave, and its intent on disk.
--
-- Atomic because between any check and the intent another holder, a new deadline or another lane's order could
-- slip in; and because an intent written though nothing will be sent would have to be looked up.
--
-- Checks in order: fence, head, state of the order, age, breaker, limits. A call re-sent after a lost reply
-- (same attempt, same nonce) gets the same GO and is not charged again.
--
-- Limits are reserved, not refused: a lane that must wait is told until when, and that slot stays its own
-- (`slot` of the instruction: attempt|symbol due|account due|kept at|is late, microseconds). A lane that comes late
-- to its slot, because its worker died, would bunch with others: so what actually leaves passes a second gate of the
-- same rate, which answers a short wait with GO, and a longer one with WAIT and a slot among those that came late:
-- without one, all that were late together would ask again together.
--
-- KEYS[9..]  per item: lane stream, order HASH, symbol's bucket, account's bucket
-- ARGV[2..]  per item: lane, token, holder, entry id, client order id, attempt, nonce, window ms, encoded plan,
--            symbol interval us or 0 (no limit), symbol burst, account interval us or 0, account burst,
--            breaker scope, longest wait in place ms, probe ms
--
-- Returns per item:
--   {'GO', expires at ms, wait ms, breaker generation, is probe 1|0, ms left until it expires}   the intent is on disk
--   {'WAIT', until ms, reason, now ms}       nothing was written but reservations
--   {'EXPIRED'}                              past its deadline
--   {'STATE'}                                not the head, or the order moved on: open again
--   {'STALE'} | {'ERROR', text}

write_even_when_full()

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

-- Asks the breaker: nil to go on, else the time to wait for, ms. Grants the one probe of a half-open breaker.
local function ask_breaker(scope, probe_ms)
  local known = redis.call('HGET', BREAKERS, scope)
  if not known then return nil, '0', '0' end
  local state, generation, reset_at, probe_until = string.match(known, '^([^|]*)|([^|]*)|([^|]*)|([^|]*)$')
  if state ~= 'open' then return nil, generation or '0', '0' end
  if NOW < tonumber(reset_at) then return tonumber(reset_at) end
  if NOW < tonumber(probe_until) then return tonumber(probe_until) end
  return nil, generation, '1', 'open|' .. generation .. '|' .. reset_at .. '|' .. text(NOW + probe_ms)
end

return answer_each((#KEYS - 8) / 4, function(i)
  local k, a = 9 + (i - 1) * 4, 2 + (i - 1) * 16
  local lane, token, holder, entry = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local order, attempt, nonce, window = ARGV[a + 4], ARGV[a + 5], ARGV[a + 6], tonumber(ARGV[a + 7])
  local plan, scope = ARGV[a + 8], ARGV[a + 13]
  local longest_wait, probe_ms = tonumber(ARGV[a + 14]) * 1000, tonumber(ARGV[a + 15])
  local limits = {
    {interval = tonumber(ARGV[a + 9]), burst = tonumber(ARGV[a + 10]), key = KEYS[k + 2]},
    {interval = tonumber(ARGV[a + 11]), burst = tonumber(ARGV[a + 12]), key = KEYS[k + 3]},
  }
  local lane_key, order_key = KEYS[k], KEYS[k + 1]

  if not is_held(lane, token, holder) then return {'STALE'} end
  local head, fields = head_of(lane, lane_key)
  if head ~= entry then return {'STATE'} end
  local known = redis.call('HMGET', order_key, 'state', 'attempt', 'nonce', 'expires_at', 'granted')
  if known[1] == 'SENDING' and known[2] == attempt and known[3] == nonce then
    local wait, generation, is_probe = string.match(known[5], '^([^|]*)|([^|]*)|([^|]*)$')
    renew_lease(token, holder)
    return {'GO', known[4], wait, generation, is_probe, text(tonumber(known[4]) - NOW)}
  end
  local may_send = (not known[1] or known[1] == 'NOT_EXECUTED') and (tonumber(known[2]) or 0) == tonumber(attempt) - 1
  if not may_send then return {'STATE'} end
  local deadline = tonumber(fields.deadline)
  if NOW >= deadline then return {'EXPIRED'} end

  local key = instruction_key(fields.alert, fields.account)
  local function wait_until(at_ms, reason)
    redis.call('HSET', key, 'running', '')
    return {'WAIT', text(math.min(at_ms, deadline)), reason, text(NOW)}
  end

  local reset_at, generation, is_probe, granted = ask_breaker(scope, probe_ms)
  if reset_at then return wait_until(reset_at, 'breaker_open') end

  local slot_attempt, symbol_due, account_due, kept_at, late = string.match(
    redis.call('HGET', key, 'slot') or '', '^([^|]*)|([^|]*)|([^|]*)|(%d+)|([01])$')
  -- A slot from before the clock stepped back would be due far too late.
  local is_reserved = slot_attempt == attempt and tonumber(kept_at) <= NOW_US
  local is_late = is_reserved and late == '1'
  local due = is_reserved and {tonumber(symbol_due), tonumber(account_due)} or {}
  local function keep_slot(is_late_now)
    redis.call('HSET', key, 'slot', attempt .. '|' .. text(due[1] or 0) .. '|' .. (due[2] and text(due[2]) or '')
      .. '|' .. text(NOW_US) .. '|' .. (is_late_now and '1' or '0'))
  end
  local buckets = {}
  for n, limit in ipairs(limits) do
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
  local is_too_late = leaves_in > longest_wait
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
  for _, bucket in pairs(buckets) do count_in(bucket, 'gate', leaves_at) end
  if granted then redis.call('HSET', BREAKERS, scope, granted) end

  local expires_at = text(math.min(NOW + wait + window, deadline))
  redis.call('HSET', order_key, 'state', 'SENDING', 'attempt', attempt, 'nonce', nonce, 'signed_at', text(NOW),
    'expires_at', expires_at, 'misses', '0', 'alert', fields.alert, 'account', fields.account, 'lane', lane,
    'granted', text(wait) .. '|' .. generation .. '|' .. is_probe)
  redis.call('PERSIST', order_key)
  local extra = {'attempts', attempt, 'running', token}
  if not known[1] then
    redis.call('HSET', order_key, 'plan', plan)
    local orders = redis.call('HGET', key, 'orders')
    extra = {'attempts', attempt, 'running', token, 'plan', plan, 'orders', orders and (orders .. ' ' .. order) or order}
  end
  record(key, 'SENDING', fields.alert, fields.account, lane, order, attempt, extra)
  renew_lease(token, holder)
  return {'GO', expires_at, text(wait), generation, is_probe, text(tonumber(expires_at) - NOW)}
end)
