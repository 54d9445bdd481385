-- renew: start the leases of held lanes afresh.
--
-- Atomic so that a lane that was just reclaimed is not claimed back by the holder that lost it.
--
-- ARGV[2..]  per item: lane, token, holder
--
-- Returns per item: {'OK'} | {'STALE'} | {'ERROR', text}

write_even_when_full()

local answers = answer_each((#ARGV - 1) / 3, function(i)
  local a = 2 + (i - 1) * 3
  local lane, token, holder = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  if not is_held(lane, token, holder) then return {'STALE'} end
  renew_lease(token, holder)
  return {'OK'}
end)
renew_leases()
return answers
