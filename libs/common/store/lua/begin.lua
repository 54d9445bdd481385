-- begin: the last word before an order may leave, and its intent on disk.
--
-- Atomic because between any check and the intent another holder, a new deadline or another lane's order could
-- slip in; and because an intent written though nothing will be sent would have to be looked up.
--
-- Checks in order: fence, head, then all those of `intent.lua`.
--
-- KEYS[9..]  per item: lane stream, then as `intent_at` has them
-- ARGV[2]    longest wait in place, ms
-- ARGV[3]    probe ms
-- ARGV[4..]  per item: lane, token, holder, then as `intent_at` has them
--
-- Returns per item:
--   {'GO', expires at ms, wait ms, ms left until it expires, generation of the market's breaker, is its probe 1|0,
--    generation of the account's breaker, is its probe 1|0, entry behind it}
--                                            the intent is on disk; the entry as XRANGE has it, where there is one and
--                                            it is wanted
--   {'WAIT', until ms, reason, now ms, detail}   nothing was written but reservations of the rate limit
--   {'HALTED', words}                        a halt refuses it
--   {'RISK', rule, limit, value}             a risk limit of the account refuses it
--   {'EXPIRED'}                              past its deadline
--   {'STATE'}                                not the head, the order moved on, or must be looked up: open again
--   {'STALE'} | {'ERROR', text}

write_even_when_full()

LONGEST_WAIT_US, PROBE_MS = tonumber(ARGV[2]) * 1000, tonumber(ARGV[3])

local answers = answer_each((#KEYS - 8) / 4, function(i)
  local k, a = 9 + (i - 1) * 4, 4 + (i - 1) * 20
  local lane, token, holder = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  if not is_held(lane, token, holder) then return {'STALE'} end
  local intent = intent_at(k + 1, a + 3)
  local head, fields, entries = head_of(lane, KEYS[k], intent.wants_successor and 2 or 1)
  if head ~= intent.entry then return {'STATE'} end
  return begin_order(lane, token, holder, fields, read_head(fields), intent, entries[2])
end)
renew_leases()
return answers
