-- discard: drop a dead letter for good; the journal keeps that it was.
--
-- Atomic so that it cannot be replayed and discarded at once.
--
-- ARGV[2]  dead letter id
--
-- Returns  {'OK', alert, account} | {'GONE'}

write_even_when_full()

local letter = redis.call('XRANGE', DEAD, ARGV[2], ARGV[2])[1]
if not letter then return {'GONE'} end
local fields = fields_of(letter)
redis.call('XDEL', DEAD, ARGV[2])
local key = instruction_key(fields.alert or '', fields.account or '')
if redis.call('TYPE', key).ok == 'hash' then
  record(key, 'DISCARDED', fields.alert, fields.account, fields.lane, 'discarded', ARGV[2], {'detail', fields.detail or ''})
else
  write_journal('DISCARDED', fields.alert or '', fields.account or '', fields.lane or '', 'discarded', ARGV[2])
end
return {'OK', fields.alert or '', fields.account or ''}
