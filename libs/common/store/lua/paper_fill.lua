-- paper_fill: write what became of the paper broker's books, each order at most once.
--
-- Atomic because an order remembered without its book, or the other way round, would trade twice or not at all. The
-- sums are made by the caller, since Lua's numbers are not exact; so a book is written only if it is still the one
-- that the caller counted from, and with it the orders of that market that changed on the way.
--
-- Every read, and with it every error of a wrong type, comes before an item's first write. A re-sent call finds its
-- order and answers as it did first; one without an order of its own finds the book changed, by itself.
--
-- KEYS[9..]  per item: books HASH market -> encoded book; HASHes of the orders that changed, its own order first
-- ARGV[2]    ms that an order is remembered
-- ARGV[3..]  per item: market, book counted from ('' is none), book after, expires at ms ('' where no order is placed),
--            alert of the order placed, number of orders, an encoded report for each
--
-- Returns per item: {'FILLED', report} | {'KNOWN', first report} | {'CHANGED', book or ''} | {'EXPIRED', now}
--                   | {'WRITTEN', ''} where no order is placed | {'ERROR', text}

write_even_when_full()

local items, next_arg, next_key = {}, 3, 9
while ARGV[next_arg] do
  local count = tonumber(ARGV[next_arg + 5])
  items[#items + 1] = {next_arg, next_key, count}
  next_arg, next_key = next_arg + 6 + count, next_key + 1 + count
end

return answer_each(#items, function(i)
  local a, k, count = items[i][1], items[i][2], items[i][3]
  local books, places_order = KEYS[k], ARGV[a + 3] ~= ''
  local known = {}
  for j = 1, count do known[j] = redis.call('HGET', KEYS[k + j], 'report') end
  local book = redis.call('HGET', books, ARGV[a]) or ''
  if places_order then
    if known[1] then return {'KNOWN', known[1]} end
    if NOW >= tonumber(ARGV[a + 3]) then return {'EXPIRED', NOW_TEXT} end
  end
  if book ~= ARGV[a + 1] then return {'CHANGED', book} end
  redis.call('HSET', books, ARGV[a], ARGV[a + 2])
  for j = 1, count do
    local order, report = KEYS[k + j], ARGV[a + 5 + j]
    if j == 1 and places_order then
      redis.call('HSET', order, 'report', report, 'market', ARGV[a], 'alert', ARGV[a + 4], 'placed_at', NOW_TEXT)
    else
      redis.call('HSET', order, 'report', report, 'market', ARGV[a])
    end
    redis.call('PEXPIRE', order, ARGV[2])
  end
  return {places_order and 'FILLED' or 'WRITTEN', places_order and ARGV[a + 6] or ''}
end)
