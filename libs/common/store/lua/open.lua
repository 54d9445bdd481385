-- open: take lanes whose tokens were read, and hand out their heads.
--
-- Atomic because the fence must name its one holder before anybody acts on the head: the group may be created
-- again, a fail-over may forget a delivery, and own pending entries are read again, so one token can reach two.
-- The same holder again is a no-op. Counts no attempt.
--
-- KEYS[9..]  per item: lane stream
-- ARGV[2..]  per item: lane, token, holder
--
-- Returns per item: {'HEAD', ...} as `hand_out` answers | {'CLOSED'} | {'STALE'} | {'ERROR', text}

write_even_when_full()

return answer_each(#KEYS - 8, function(i)
  local a = 2 + (i - 1) * 3
  local lane, token, holder = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  if not take_lane(lane, token, holder) then return {'STALE'} end
  return hand_out(lane, KEYS[8 + i], token)
end)
