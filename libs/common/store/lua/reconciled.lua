-- reconciled: move on what an account's positions are counted from, with the drift that was found.
--
-- Atomic compare-and-set on what it was counted from: of two workers that compared one market only one writes, so a
-- drift is journalled once, and no fill is counted twice or left out.
--
-- A call sent again finds what it wrote, and writes nothing.
--
-- KEYS[9]    reconciled  HASH  market -> what is counted from
-- KEYS[10]   positions   HASH  market -> what is published
-- ARGV[2]    account
-- ARGV[3..]  per item: market, lane, before or '', after, or '' to forget the market, drift in words or ''
--
-- Returns per item: {'OK'} | {'CHANGED'} | {'ERROR', text}

write_even_when_full()

return answer_each((#ARGV - 2) / 5, function(i)
  local a = 3 + (i - 1) * 5
  local market, lane, before, after, drift = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]
  local now = redis.call('HGET', KEYS[9], market) or ''
  if now == after then return {'OK'} end
  if now ~= before then return {'CHANGED'} end
  if after ~= '' then
    redis.call('HSET', KEYS[9], market, after)
  else
    redis.call('HDEL', KEYS[9], market)
    redis.call('HDEL', KEYS[10], market)
  end
  if drift ~= '' then write_journal('DRIFT', '', ARGV[2], lane, 'position', drift) end
  return {'OK'}
end)
