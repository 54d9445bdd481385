-- resolve: move an order of unknown outcome on.
--
-- Atomic compare-and-set: a look-up races the request it asks about, so "not executed" counts only once the
-- request can no longer execute (Redis' time past its expiry and a margin), or from its own sender, who knows
-- that it never left.
--
-- What a leg came to is noted here too, where its instruction goes on with the next one: ACCEPTED and PARTIAL may be
-- followed by another state, the others are final.
--
-- KEYS[9..]  per item: order HASH
-- ARGV[2..]  per item: lane, token, holder, client order id, attempt, new state, nonce or '', margin ms, detail,
--            venue's answer or '', market, signed quantity filled or ''
--
-- New state MISSED counts a look-up that found nothing and answers how many there were; its nonce names the
-- look-up, so that one that is told twice counts once.
--
-- Returns per item: {'OK', misses} | {'EARLY', ms to wait} | {'STATE'} | {'STALE'} | {'ERROR', text}

write_even_when_full()

return answer_each(#KEYS - 8, function(i)
  local a = 2 + (i - 1) * 12
  local lane, token, holder, order = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local attempt, state, nonce, margin, detail = ARGV[a + 4], ARGV[a + 5], ARGV[a + 6], tonumber(ARGV[a + 7]), ARGV[a + 8]
  local answer, market, filled = ARGV[a + 9], ARGV[a + 10], ARGV[a + 11]
  local order_key = KEYS[8 + i]
  if not is_held(lane, token, holder) then return {'STALE'} end
  local known = redis.call('HMGET', order_key, 'state', 'attempt', 'nonce', 'expires_at', 'alert', 'account', 'misses',
    'missed')
  if known[2] ~= attempt then return {'STATE'} end
  if known[1] == state then return {'OK', known[7] or '0'} end
  local may_move = AMBIGUOUS[known[1]] or (RESTING[known[1]] and answer ~= '')
  if not may_move then return {'STATE'} end
  -- What was filled once stays filled.
  if known[1] == 'PARTIAL' and (state == 'ACCEPTED' or state == 'REJECTED') then return {'STATE'} end
  local is_senders_own = nonce ~= '' and nonce == known[3]
  if state == 'MISSED' or (state == 'NOT_EXECUTED' and not is_senders_own) then
    local early = tonumber(known[4]) + margin - NOW
    if early >= 0 then return {'EARLY', text(early + 1)} end
  end
  if state == 'MISSED' then
    if nonce ~= '' and nonce == known[8] then return {'OK', known[7]} end
    redis.call('HSET', order_key, 'missed', nonce)
    return {'OK', text(redis.call('HINCRBY', order_key, 'misses', 1))}
  end
  local key = instruction_key(known[5], known[6])
  redis.call('HSET', order_key, 'state', state)
  if answer ~= '' then redis.call('HSET', order_key, 'answer', answer) end
  if answer ~= '' and not RESTING[state] then redis.call('HSET', order_key, 'ended_at', NOW_TEXT) end
  note_fill(known[6], market, order, filled)
  -- What a leg came to has a word of its own: EXPIRED and REJECTED are states of instructions too.
  local event = answer ~= '' and 'ORDER_' .. state or state
  record(key, event, known[5], known[6], lane, order, detail, {'running', ''}, answer)
  return {'OK', '0'}
end)
