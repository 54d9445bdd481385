-- take: take lanes whose tokens were read, and begin their heads in the same call.
--
-- A token tells what was to become the head when it was issued, though not under which entry id; so its reader can plan
-- that, and says at once what he would have `begin` do. Atomic as `open` is: the fence names its one holder first. A
-- head that is another one, or of which more is on record, is handed out, as by `open`. Re-sent, it answers the same.
--
-- KEYS[9..]  per item: lane stream, then as `intent_at` has them
-- ARGV[2]    longest wait in place, ms
-- ARGV[3]    probe ms
-- ARGV[4..]  per item: lane, token, holder, alert of which the head is expected to be, then as `intent_at` has them
--
-- Returns per item: {'BEGUN', ...} as `begin_or_hand_out` answers | {'HEAD', ...} as `hand_out` answers | {'CLOSED'}
--                   | {'STALE'} | {'ERROR', text}

write_even_when_full()

LONGEST_WAIT_US, PROBE_MS = tonumber(ARGV[2]) * 1000, tonumber(ARGV[3])

local answers = answer_each((#KEYS - 8) / 4, function(i)
  local k, a = 9 + (i - 1) * 4, 4 + (i - 1) * 21
  local lane, token, holder = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  if not take_lane(lane, token, holder) then return {'STALE'} end
  local intent = intent_at(k + 1, a + 4)
  local head, fields, entries = head_of(lane, KEYS[k], intent.wants_successor and 2 or 1)
  if not head then return close_lane(lane, KEYS[k], token) end
  local is_meant = fields.alert == ARGV[a + 3]
  return begin_or_hand_out(lane, KEYS[k], token, holder, entries[1], entries[2], is_meant and intent or nil)
end)
renew_leases()
return answers
