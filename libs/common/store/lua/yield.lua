-- yield: hand lanes back at once, to the tail of those that are ready.
--
-- Atomic because a lane between two tokens would have none if the worker died there. A lane that was read but
-- not opened yet is handed back as well.
--
-- KEYS[9..]  per item: lane stream
-- ARGV[2..]  per item: lane, token, holder
--
-- Returns per item: {'OK'} | {'CLOSED'} | {'STALE'} | {'ERROR', text}

write_even_when_full()

return answer_each(#KEYS - 8, function(i)
  local a = 2 + (i - 1) * 3
  local lane, token, holder = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  local fence = redis.call('HGET', LANES, lane)
  if fence ~= token .. '|' .. holder and fence ~= token .. '|' then return {'STALE'} end
  local head, fields = head_of(lane, KEYS[8 + i])
  if not head then return close_lane(lane, KEYS[8 + i], token) end
  redis.call('HSET', instruction_key(fields.alert, fields.account), 'running', '')
  return hand_back(lane, token)
end)
