-- plan: fix what the head instruction does at the venue, before anything of it that is no order is done.
--
-- Atomic because a holder that comes late must find the ids of what rested when the plan was made, and not cancel
-- what its successor has placed since. A plan once made stays; nothing it names may execute anything, so there is no
-- intent to look up.
--
-- KEYS[9..]  per item: lane stream
-- ARGV[2..]  per item: lane, token, holder, entry id, plan, market, strategy, note for the journal
--
-- Returns per item: {'PLANNED'} | {'WAIT', until ms, reason, now ms, detail} | {'HALTED', words} | {'EXPIRED'}
--                   | {'STATE'} | {'STALE'} | {'ERROR', text}

write_even_when_full()

return answer_each(#KEYS - 8, function(i)
  local a = 2 + (i - 1) * 8
  local lane, token, holder, entry = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local plan, market, strategy, note = ARGV[a + 4], ARGV[a + 5], ARGV[a + 6], ARGV[a + 7]
  if not is_held(lane, token, holder) then return {'STALE'} end
  local head, fields = head_of(lane, KEYS[8 + i])
  if head ~= entry then return {'STATE'} end
  local key = instruction_key(fields.alert, fields.account)
  local halt, words = halted(fields.account, strategy, market, true)
  if halt == 'reject' then return {'HALTED', words} end
  local deadline = tonumber(fields.deadline)
  if NOW >= deadline then return {'EXPIRED'} end
  if halt then
    redis.call('HSET', key, 'running', '')
    return {'WAIT', text(math.min(NOW + HALTED_MS, deadline)), 'halted', NOW_TEXT, words}
  end
  local known = redis.call('HGET', key, 'plan')
  if known == plan then return {'PLANNED'} end
  if known then return {'STATE'} end
  record(key, 'PLANNED', fields.alert, fields.account, lane, '', '', {'plan', plan}, note)
  return {'PLANNED'}
end)
