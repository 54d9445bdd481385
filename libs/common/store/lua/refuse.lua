-- refuse: keep refused posts for operators, in a stream of their own that is bounded by bytes.
--
-- Not atomic with anything; a script so that many share one round trip and one bad item fails alone.
--
-- KEYS[9]    refused  STREAM
-- ARGV[2]    bytes kept
-- ARGV[3..]  per item: event id, webhook, status, code, field, detail, masked raw body
--
-- Returns per item: {'OK'} | {'ERROR', text}

return answer_each((#ARGV - 2) / 7, function(i)
  local a = 3 + (i - 1) * 7
  keep_post(KEYS[9], tonumber(ARGV[2]), {'event', ARGV[a], 'webhook', ARGV[a + 1], 'status', ARGV[a + 2],
    'code', ARGV[a + 3], 'field', ARGV[a + 4], 'detail', ARGV[a + 5], 'raw', ARGV[a + 6]})
  return {'OK'}
end)
