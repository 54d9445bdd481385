-- admit: make alerts durable, each once, and give their lanes a token where they have none.
--
-- Atomic because a dedup key claimed without a queued instruction would turn the sender's resend into a
-- "duplicate" of nothing, and an instruction without a token would never run.
--
-- Write order: records, token, fence, lane entry, then the dedup key, then the journal. A token without work is
-- harmless; work without a token is not. A re-sent call carries the same alert id and gets the first answer.
-- Denied at the memory limit, on purpose.
--
-- A flight that stood in a socket while Redis stood still must not trade what its sender was told is not durable:
-- past `not after` nothing is written. Every answer carries the time, so that the caller knows Redis' clock.
--
-- KEYS[9..]  per item: seen, alert; then per account of the item: instruction, lane
-- ARGV[2]    not after, ms, or '' where the caller does not know Redis' clock yet
-- ARGV[3..]  per item: alert id, dedup window ms, digest, is sender's id (1|0), encoded alert, fired at ms or '',
--            max age ms, clock skew ms, schema version, accounts n; then n times: account, market, lane, body
--
-- Returns  {now ms, then per item: {'ADMITTED', alert id} | {'DUPLICATE', first id} | {'CONFLICT', first id}
--          | {'LATE', ''} | {'ERROR', text}}

local items, k, a = {}, 9, 3
while a <= #ARGV do
  local item = {
    seen = KEYS[k], alert_key = KEYS[k + 1], alert = ARGV[a], window = ARGV[a + 1], digest = ARGV[a + 2],
    is_sender_id = ARGV[a + 3] == '1', encoded = ARGV[a + 4], fired_at = tonumber(ARGV[a + 5]),
    max_age = tonumber(ARGV[a + 6]), skew = tonumber(ARGV[a + 7]), version = ARGV[a + 8], routed = {},
  }
  local accounts = tonumber(ARGV[a + 9])
  k, a = k + 2, a + 10
  for i = 1, accounts do
    item.routed[i] = {key = KEYS[k], lane_key = KEYS[k + 1], account = ARGV[a], market = ARGV[a + 1],
      lane = ARGV[a + 2], body = ARGV[a + 3]}
    k, a = k + 2, a + 4
  end
  local names = {}
  for i, to in ipairs(item.routed) do names[i] = to.account end
  item.accounts = table.concat(names, ' ')
  items[#items + 1] = item
end

local is_late = ARGV[2] ~= '' and NOW > tonumber(ARGV[2])

local answers = answer_each(#items, function(i)
  local item = items[i]
  local seen = redis.call('GET', item.seen)
  if seen then
    local first, digest = string.match(seen, '^([^|]*)|(.*)$')
    if first == item.alert then return {'ADMITTED', first} end
    if item.is_sender_id and digest ~= item.digest then return {'CONFLICT', first or ''} end
    return {'DUPLICATE', first or ''}
  end
  if is_late then return {'LATE', ''} end
  local has_token = {}
  for n, to in ipairs(item.routed) do
    -- A stream of a wrong type fails here: after a first account's entry the sender's resend would trade that twice.
    redis.call('XLEN', to.lane_key)
    has_token[n] = redis.call('HEXISTS', LANES, to.lane) == 1 or redis.call('ZSCORE', PARKED, to.lane)
  end
  local born = NOW
  if item.fired_at and item.fired_at <= NOW + item.skew then born = math.min(item.fired_at, NOW) end
  local deadline = text(born + item.max_age)
  redis.call('HSET', item.alert_key, 'alert', item.encoded, 'open', #item.routed, 'admitted_at', text(NOW),
    'accounts', item.accounts)
  for n, to in ipairs(item.routed) do
    redis.call('HSET', to.key, 'state', 'QUEUED', 'reason', 'admitted', 'admitted_at', text(NOW),
      'deadline', deadline, 'lane', to.lane, 'market', to.market)
    if not has_token[n] then issue_token(to.lane) end
    redis.call('XADD', to.lane_key, '*', 'version', item.version, 'alert', item.alert, 'account', to.account,
      'deadline', deadline, 'body', to.body)
  end
  redis.call('SET', item.seen, item.alert .. '|' .. item.digest, 'PX', item.window)
  for _, to in ipairs(item.routed) do
    local id = write_journal('QUEUED', item.alert, to.account, to.lane, 'admitted', '')
    redis.call('HSET', to.key, 'journal', id)
  end
  return {'ADMITTED', item.alert}
end)
table.insert(answers, 1, text(NOW))
return answers
