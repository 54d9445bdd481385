-- paper_fill: execute orders on the paper broker's books, each at most once.
--
-- Atomic because an order remembered without its position, or the other way round, would trade twice or not at
-- all. The sums are made by the caller, since Lua's numbers are not exact; so a position is written only if it is
-- still the one that the caller counted from.
--
-- Every read, and with it every error of a wrong type, comes before an item's first write. A re-sent call finds its
-- order and answers the first fill.
--
-- KEYS[9..]  per item: positions HASH market -> encoded position; order HASH
-- ARGV[2]    ms that an order is remembered
-- ARGV[3..]  per item: market, position counted from ('' is none), position after, client order id's alert,
--            encoded report, expires at ms
--
-- Returns per item: {'FILLED', report} | {'KNOWN', first report} | {'CHANGED', position or ''} | {'EXPIRED', now}
--                   | {'ERROR', text}

write_even_when_full()

return answer_each((#ARGV - 2) / 6, function(i)
  local a, k = 3 + (i - 1) * 6, 9 + (i - 1) * 2
  local positions, order = KEYS[k], KEYS[k + 1]
  local known = redis.call('HGET', order, 'report')
  local position = redis.call('HGET', positions, ARGV[a]) or ''
  if known then return {'KNOWN', known} end
  if NOW >= tonumber(ARGV[a + 5]) then return {'EXPIRED', text(NOW)} end
  if position ~= ARGV[a + 1] then return {'CHANGED', position} end
  redis.call('HSET', positions, ARGV[a], ARGV[a + 2])
  redis.call('HSET', order, 'report', ARGV[a + 4], 'market', ARGV[a], 'alert', ARGV[a + 3], 'filled_at', text(NOW))
  redis.call('PEXPIRE', order, ARGV[2])
  return {'FILLED', ARGV[a + 4]}
end)
