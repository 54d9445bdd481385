-- halt: set a halt, or lift one.
--
-- Atomic because the journal must tell of every change of what may trade, and of nothing else. Every intent looks halts up
-- in the same Redis before its order may leave, so from this call's answer on all workers obey. Done at the memory limit
-- too: trading must be stopped then of all times.
--
-- KEYS[9]  halts  HASH  scope -> mode|at_ms|by|reason
-- ARGV[2]  SET | LIFT
-- ARGV[3]  scope
-- ARGV[4]  account of the scope, for the journal; '' for any
-- ARGV[5]  who does it
-- ARGV[6]  why
-- ARGV[7]  of SET the mode; of LIFT the record as it was read
--
-- Returns  {'DONE', record}: it is set so, or lifted | {'CHANGED'}: another is set there by now, nothing was lifted
--
-- Setting takes the place of whatever is set for the scope: in need nobody reads first. A call that comes again finds
-- what it wrote itself and answers as it did.

write_even_when_full()

local act, scope, account, by, why = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local held = redis.call('HGET', HALTS, scope)

if act == 'LIFT' then
  local seen = ARGV[7]
  if held and held ~= seen then return {'CHANGED'} end
  if held then
    redis.call('HDEL', HALTS, scope)
    write_journal('RESUME', '', account, scope, string.match(seen, '^[^|]*'), why .. ' (by ' .. by .. ')',
      cjson.encode({scope = scope, halt = seen, by = by, reason = why}))
  end
  return {'DONE', seen}
end

local mode = ARGV[7]
local held_mode, held_rest = string.match(held or '', '^([^|]*)|[^|]*|(.*)$')
if held_mode == mode and held_rest == by .. '|' .. why then return {'DONE', held} end
local record = mode .. '|' .. NOW_TEXT .. '|' .. by .. '|' .. why
redis.call('HSET', HALTS, scope, record)
write_journal('HALT', '', account, scope, mode, why .. ' (by ' .. by .. ')',
  cjson.encode({scope = scope, mode = mode, by = by, reason = why}))
return {'DONE', record}
