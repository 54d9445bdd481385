-- report: move a circuit breaker that all workers share.
--
-- Atomic compare-and-set on its generation, so that a late report of a call made before cannot open it again
-- or keep it open longer.
--
-- PAUSE puts off all orders of an account, as its venue asked; the longer of two holds. FREE takes back the one probe
-- of a half-open breaker that said nothing about it: the next order may be the probe at once.
--
-- ARGV[2..]  per item: scope, generation at GO, verdict OPEN|CLOSE|FREE|PAUSE, reset ms
--
-- Returns per item: {'OK', generation} | {'LATE'} | {'ERROR', text}

write_even_when_full()

return answer_each((#ARGV - 1) / 4, function(i)
  local a = 2 + (i - 1) * 4
  local scope, seen, verdict, reset = ARGV[a], ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 3])
  if verdict == 'PAUSE' then
    local until_ms = tonumber(string.match(redis.call('HGET', BREAKERS, scope) or '', '^paused|%d+|(%d+)|') or '0')
    if until_ms >= NOW + reset then return {'LATE'} end
    redis.call('HSET', BREAKERS, scope, 'paused|0|' .. text(NOW + reset) .. '|0')
    write_journal('BREAKER', '', '', scope, 'pause', text(reset))
    return {'OK', '0'}
  end
  local state, generation, reset_at = string.match(redis.call('HGET', BREAKERS, scope) or '', '^([^|]*)|([^|]*)|([^|]*)|')
  generation = generation or '0'
  if generation ~= seen then return {'LATE'} end
  if verdict == 'FREE' then
    if state ~= 'open' then return {'LATE'} end
    redis.call('HSET', BREAKERS, scope, 'open|' .. generation .. '|' .. reset_at .. '|0')
    return {'OK', generation}
  end
  local nxt = text(tonumber(generation) + 1)
  if verdict == 'OPEN' then
    redis.call('HSET', BREAKERS, scope, 'open|' .. nxt .. '|' .. text(NOW + reset) .. '|0')
  else
    redis.call('HSET', BREAKERS, scope, 'closed|' .. nxt .. '|0|0')
  end
  write_journal('BREAKER', '', '', scope, string.lower(verdict), nxt)
  return {'OK', nxt}
end)
