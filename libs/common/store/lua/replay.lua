-- replay: put a dead letter back at the tail of its lane, with a new deadline.
--
-- Atomic compare-and-set from the dead state and removal of the letter in one, so that two operators cannot
-- replay one letter twice. Refused where an order was attempted and its record is gone: whether it traded could
-- no longer be told.
--
-- KEYS[9]   lane stream
-- ARGV[2]   dead letter id
-- ARGV[3]   max age ms, counted from now
--
-- A traced instruction gets a new trace, of a name that follows from the letter's, so that a call sent again gives the
-- same one; it remembers the old.
--
-- Returns  {'OK', alert, account, new traceparent or '', the one before or ''} | {'GONE'} | {'STATE', state} | {'NO_RECORD'} | {'MALFORMED'}

write_even_when_full()

local letter = redis.call('XRANGE', DEAD, ARGV[2], ARGV[2])[1]
if not letter then return {'GONE'} end
local fields = fields_of(letter)
if not is_readable(fields) or fields.body == '' or not fields.lane or not tonumber(fields.attempts) then
  return {'MALFORMED'}
end
local lane = fields.lane
redis.call('XLEN', KEYS[9]) -- a stream of a wrong type fails here, before anything is written
local key = instruction_key(fields.alert, fields.account)
local known = redis.call('HMGET', key, 'state', 'orders')
if known[1] and known[1] ~= fields.state then return {'STATE', known[1]} end
local orders = {}
for order in string.gmatch(known[2] or '', '%S+') do orders[#orders + 1] = PREFIX .. 'order:' .. order end
if tonumber(fields.attempts) > 0 and #orders == 0 then return {'NO_RECORD'} end
local order_states = {}
for i, order in ipairs(orders) do
  order_states[i] = redis.call('HGET', order, 'state')
  if not order_states[i] then return {'NO_RECORD'} end
end
local alert_key = PREFIX .. 'alert:' .. fields.alert
local ended = {}
for account, state in string.gmatch(redis.call('HGET', alert_key, 'ended') or '', '([^ =]+)=(%u+)') do
  if account ~= fields.account then ended[#ended + 1] = account .. '=' .. state end
end
-- What it would cancel may not rest any more, and what it found open may have changed: planned anew.
if #orders == 0 then redis.call('HDEL', key, 'plan') end
for i, order in ipairs(orders) do
  redis.call('PERSIST', order)
  -- Its lane looks after it again, and puts it back if it still rests when the instruction ends.
  redis.call('ZREM', FOLLOWING, string.sub(order, #PREFIX + #'order:' + 1))
  -- The venue refused it, so nothing of it exists there: another attempt may follow.
  if order_states[i] == 'REJECTED' then redis.call('HSET', order, 'state', 'NOT_EXECUTED') end
end
local body, before = fields.body, traceparent_of(fields.body)
local traceparent
if before then
  local trace = string.sub(redis.sha1hex(before .. ARGV[2]), 1, 32)
  traceparent = '00-' .. trace .. '-' .. string.sub(redis.sha1hex(trace), 1, 16) .. string.sub(before, -3)
  body = string.gsub(body, ',"replay_of":"[%x%-]+"', '', 1)
  body = string.gsub(body, '"traceparent":"[%x%-]+"',
    '"traceparent":"' .. traceparent .. '","replay_of":"' .. before .. '"', 1)
end
local deadline = text(NOW + tonumber(ARGV[3]))
redis.call('HINCRBY', alert_key, 'open', 1)
redis.call('HDEL', alert_key, 'state', 'ended')
if #ended > 0 then redis.call('HSET', alert_key, 'ended', table.concat(ended, ' ')) end
redis.call('PERSIST', alert_key)
redis.call('PERSIST', key)
redis.call('HDEL', key, 'ended_at', 'slot', 'waits_for')
record(key, 'QUEUED', fields.alert, fields.account, lane, 'replayed', ARGV[2],
  {'state', 'QUEUED', 'reason', 'replayed', 'detail', '', 'deadline', deadline, 'lost_holders', '0', 'running', '',
    'lane', lane})
if redis.call('HEXISTS', LANES, lane) == 0 and not redis.call('ZSCORE', PARKED, lane) then issue_token(lane) end
redis.call('XADD', KEYS[9], '*', 'version', fields.version, 'alert', fields.alert, 'account', fields.account,
  'deadline', deadline, 'body', body)
redis.call('XDEL', DEAD, ARGV[2])
return {'OK', fields.alert, fields.account, traceparent or '', before or ''}
