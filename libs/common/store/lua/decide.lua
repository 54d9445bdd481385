-- decide: take an operator's word for what became of an order that cannot be told otherwise.
--
-- Atomic compare-and-set: a worker may be looking the same order up, and a decision about an attempt whose request may
-- still execute, or that another attempt has followed, would be wrong. Needs no token: whoever holds the lane finds the
-- order moved and opens it again.
--
-- An order whose instruction was given up is decided too, so that a replay knows what became of it. So is one that rested
-- when it was found after Redis came back, and of which nobody knows what it was: nobody follows it, and its venue may
-- forget it. The venue had it once, so it is never sent again.
--
-- KEYS[9]  order HASH
-- ARGV[2]  client order id
-- ARGV[3]  attempt that was looked at
-- ARGV[4]  FILLED | CANCELED (a part was filled, or nothing of what rested) | NOT_EXECUTED
-- ARGV[5]  nonce of the decision
-- ARGV[6]  margin ms after its expiry in which a request may still show up
-- ARGV[7]  answer: the encoded report, or '' of NOT_EXECUTED
-- ARGV[8]  signed quantity filled, or ''
-- ARGV[9]  detail: who, and why
-- ARGV[10] note, JSON
--
-- Returns  {'DONE'} | {'EARLY', ms to wait} | {'STATE', state, attempt} | {'NONE'}
--
-- A call that comes again (same nonce) answers DONE.

write_even_when_full()

local order_key, order, attempt, state, nonce = KEYS[9], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local margin, answer, filled, detail, note = tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9], ARGV[10]

local known = redis.call('HMGET', order_key, 'state', 'attempt', 'expires_at', 'alert', 'account', 'lane', 'market',
  'decided', 'plan')
if not known[1] then return {'NONE'} end
if known[8] == nonce then return {'DONE'} end
local is_unfollowed = RESTING[known[1]] and not known[9] and not redis.call('ZSCORE', FOLLOWING, order)
local is_open = AMBIGUOUS[known[1]] or (is_unfollowed and state ~= 'NOT_EXECUTED')
if known[2] ~= attempt or not is_open then
  return {'STATE', known[1], known[2] or '0'}
end
local early = (tonumber(known[3]) or 0) + margin - NOW
if early >= 0 then return {'EARLY', text(early + 1)} end

-- Every read comes before the first write: a key of a wrong type fails here.
local alert, account, lane = known[4], known[5], known[6] or ''
local key = instruction_key(alert, account)
local of_instruction = redis.call('HMGET', key, 'state', 'market')
local market = known[7] or of_instruction[2] or ''
redis.call('ZSCORE', PARKED, lane)
redis.call('XLEN', fills_key(account))

redis.call('HSET', order_key, 'state', state, 'decided', nonce)
if answer ~= '' then redis.call('HSET', order_key, 'answer', answer, 'ended_at', NOW_TEXT) end
note_fill(account, market, order, filled)
if of_instruction[1] then
  record(key, 'RESOLVED', alert, account, lane, order, detail, {'running', ''}, note)
else
  write_journal('RESOLVED', alert, account, lane, order, detail, note)
end
redis.call('ZADD', PARKED, 'XX', NOW_TEXT, lane)
return {'DONE'}
