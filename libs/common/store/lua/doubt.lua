-- doubt: take it that an order of a head may be on its way, since Redis may have forgotten that it left.
--
-- Atomic because from then on the rules of an order that was found SENDING hold: it is looked up, sent again only when it
-- certainly cannot arrive any more, and decided by an operator where its venue cannot tell. So its record must be
-- there, with the latest time at which a forgotten request may execute, before anybody acts on what the venue says.
--
-- The attempt that is assumed is the one after the last known. Nobody owns it: "certainly never sent" counts from
-- nobody. An order whose end is known stays as it is. A call sent again changes nothing and hands the head out again.
--
-- A first order that was not executed may have been planned anew since, under the same id: its plan on record may not be
-- that of the order that left, and is forgotten.
--
-- An instruction that never comes to an order gets one that was not executed, so that it is known to be looked into.
--
-- KEYS[9..]  per item: lane stream, order HASH
-- ARGV[2..]  per item: lane, token, holder, entry id, client order id, market, plan of the order or '' where nobody knows,
--            whether there may be an order 1|0
--
-- Returns per item: {'HEAD', ...} as `hand_out` answers | {'STATE'} | {'STALE'} | {'ERROR', text}

write_even_when_full()

return answer_each((#KEYS - 8) / 2, function(i)
  local k, a = 9 + (i - 1) * 2, 2 + (i - 1) * 8
  local lane, token, holder, entry = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local order, market, plan, may_exist = ARGV[a + 4], ARGV[a + 5], ARGV[a + 6], ARGV[a + 7] == '1'
  local lane_key, order_key = KEYS[k], KEYS[k + 1]
  if not is_held(lane, token, holder) then return {'STALE'} end
  local head, fields = head_of(lane, lane_key)
  if head ~= entry then return {'STATE'} end
  local key = instruction_key(fields.alert, fields.account)
  local of_head = redis.call('HMGET', key, 'epoch', 'orders', 'plan')
  local known = redis.call('HMGET', order_key, 'state', 'attempt', 'expires_at', 'cleared', 'signed_at', 'plan')
  local state = known[1]
  if is_suspect(of_head[1]) and not is_cleared(known[4]) and may_lack_attempts(state) then
    local attempt = tonumber(known[2]) or 0
    if not may_exist then
      state = 'NOT_EXECUTED'
    elseif not AMBIGUOUS[state] then
      state, attempt = 'SENDING', attempt + 1
    end
    redis.call('HSET', order_key, 'state', state, 'attempt', text(attempt), 'nonce', '', 'misses', '0',
      'expires_at', text(math.max(tonumber(known[3]) or 0, SUSPECT_UNTIL)), 'alert', fields.alert,
      'account', fields.account, 'lane', lane, 'market', market, 'cleared', text(EPOCH))
    if not known[5] then redis.call('HSET', order_key, 'signed_at', NOW_TEXT) end
    redis.call('PERSIST', order_key)
    if known[1] == 'NOT_EXECUTED' and string.match(of_head[2] or '', '^%S+') == order then
      redis.call('HDEL', order_key, 'plan')
      redis.call('HDEL', key, 'plan')
      known[6], of_head[3] = nil, nil
    end
    local extra = {'attempts', text(attempt)}
    local function add(name, value) extra[#extra + 1], extra[#extra + 2] = name, value end
    if plan ~= '' and not known[6] then redis.call('HSET', order_key, 'plan', plan) end
    if plan ~= '' and not of_head[3] then add('plan', plan) end
    if not known[1] then add('orders', of_head[2] and (of_head[2] .. ' ' .. order) or order) end
    record(key, 'SUSPECTED', fields.alert, fields.account, lane, order,
      may_exist and 'Redis came back: it may have left' or 'Redis came back: there is no such order', extra)
  end
  return hand_out(lane, lane_key, token)
end)
