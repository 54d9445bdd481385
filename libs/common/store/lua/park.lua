-- park: put lanes to wait until a due time, without token, slot or lease.
--
-- Atomic because a lane that is neither parked nor has a token would wait for ever. A lane that was read but not
-- opened yet may be parked as well.
--
-- KEYS[9..]  per item: lane stream
-- ARGV[2..]  per item: lane, token, holder, ms to wait, or the due time with a leading '=', reason,
--            is the head to blame 1|0 (an unexpected error: counted like a lost holder), detail
--
-- Returns per item: {'OK'} | {'CLOSED'} | {'STALE'} | {'ERROR', text}

write_even_when_full()

return answer_each(#KEYS - 8, function(i)
  local a = 2 + (i - 1) * 7
  local lane, token, holder, due = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local reason, is_to_blame, detail = ARGV[a + 4], ARGV[a + 5] == '1', ARGV[a + 6]
  local fence = redis.call('HGET', LANES, lane)
  if fence ~= token .. '|' .. holder and fence ~= token .. '|' then return {'STALE'} end
  local head, fields = head_of(lane, KEYS[8 + i])
  if not head then return close_lane(lane, KEYS[8 + i], token) end
  due = string.sub(due, 1, 1) == '=' and tonumber(string.sub(due, 2)) or NOW + tonumber(due)
  local key = instruction_key(fields.alert, fields.account)
  local waits_for = redis.call('HGET', key, 'waits_for')
  redis.call('HDEL', LANES, lane)
  drop_token(token)
  redis.call('ZADD', PARKED, text(due), lane)
  if is_to_blame then redis.call('HINCRBY', key, 'lost_holders', 1) end
  -- One journal entry per reason, not one per wait: a long outage is one line of history.
  if reason ~= '' and (is_to_blame or waits_for ~= reason) then
    record(key, 'PARKED', fields.alert, fields.account, lane, reason, detail, {'running', '', 'waits_for', reason})
  else
    redis.call('HSET', key, 'running', '')
  end
  return {'OK'}
end)
