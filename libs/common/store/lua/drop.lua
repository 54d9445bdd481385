-- drop: remove entries of the ready stream that name no lane.
--
-- ARGV[2..]  per item: token
--
-- Returns per item: {'OK'} | {'ERROR', text}

write_even_when_full()

return answer_each(#ARGV - 1, function(i)
  drop_token(ARGV[i + 1])
  return {'OK'}
end)
