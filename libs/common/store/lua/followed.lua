-- followed: note what a look-up told of an order that rests at its venue, and when to ask again.
--
-- Atomic compare-and-set on claim and state: of two followers of one order only the one whose claim is current writes,
-- so every fill is journalled and counted once; and a fill written without its answer would be counted again.
--
-- A report has an id of its own; sent again after a lost reply it writes nothing and answers as the first time.
--
-- KEYS[9]    following  ZSET  client order id -> when it is due, ms
-- KEYS[10..] per item: order HASH
-- ARGV[2]    ms that an ended order's record stays
-- ARGV[3..]  per item: client order id, claim, report id, state seen, state now, answer or '', due in ms or '' where it
--            is followed no more, keeps its claim 1|0, signed quantity newly filled or '', is the venue's word 1|0,
--            look-ups that found nothing, since ms, is known to be lost 1|0, cancelled at ms or 0, notes n; then n times:
--            event, detail, note (JSON or '')
--
-- Returns per item: {'OK'} | {'STALE'} | {'STATE'} | {'ERROR', text}

write_even_when_full()

local KEPT = ARGV[2]

local items, a = {}, 3
while a <= #ARGV do
  local item = {order = ARGV[a], claim = ARGV[a + 1], report = ARGV[a + 2], seen = ARGV[a + 3], state = ARGV[a + 4],
    answer = ARGV[a + 5], due = ARGV[a + 6], keeps_claim = ARGV[a + 7] == '1', filled = ARGV[a + 8],
    is_word = ARGV[a + 9] == '1', absent = ARGV[a + 10], absent_since = ARGV[a + 11], is_lost = ARGV[a + 12],
    cancelled_at = ARGV[a + 13], notes = {}}
  local notes = tonumber(ARGV[a + 14])
  a = a + 15
  for n = 1, notes do
    item.notes[n] = {ARGV[a], ARGV[a + 1], ARGV[a + 2]}
    a = a + 3
  end
  items[#items + 1] = item
end

return answer_each(#items, function(i)
  local item, key = items[i], KEYS[9 + i]
  local known = redis.call('HMGET', key, 'follower', 'reported', 'state', 'alert', 'account', 'lane', 'market')
  if known[2] == item.report then return {'OK'} end
  if known[1] ~= item.claim then return {'STALE'} end
  if known[3] ~= item.seen then return {'STATE'} end
  local alert, account, lane = known[4], known[5], known[6]
  local instruction = instruction_key(alert, account)
  local is_on_record = redis.call('EXISTS', instruction) == 1
  local market = known[7] or (is_on_record and redis.call('HGET', instruction, 'market')) or ''

  redis.call('HSET', key, 'state', item.state, 'reported', item.report, 'absent', item.absent,
    'absent_since', item.absent_since, 'is_lost', item.is_lost, 'cancelled_at', item.cancelled_at)
  if item.answer ~= '' then redis.call('HSET', key, 'answer', item.answer) end
  if item.is_word then redis.call('HSET', key, 'looked_at', NOW_TEXT) end
  if not item.keeps_claim then redis.call('HDEL', key, 'follower') end
  note_fill(account, market, item.order, item.filled)
  for _, note in ipairs(item.notes) do
    -- An order may outlive its instruction's record: written to then, that would come to life without an expiry.
    if is_on_record then
      record(instruction, note[1], alert, account, lane, item.order, note[2], {}, note[3])
    else
      write_journal(note[1], alert, account, lane, item.order, note[2], note[3])
    end
  end
  if item.due == '' then
    redis.call('ZREM', FOLLOWING, item.order)
    if not RESTING[item.state] then redis.call('HSET', key, 'ended_at', NOW_TEXT) end
    redis.call('PEXPIRE', key, KEPT)
  else
    redis.call('ZADD', FOLLOWING, text(NOW + tonumber(item.due)), item.order)
  end
  return {'OK'}
end)
