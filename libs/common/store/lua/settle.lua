-- settle: end the head instruction of a lane and hand out the next one, or begin it; or hand the lane back.
--
-- Atomic because a crash between the outcome and the removal would execute the instruction again, and one
-- between the removal and closing the lane would leave a lane with work and no token.
--
-- Re-sent after a lost reply, the entry is no longer the head: nothing is written and the current head is handed
-- out, as the first time. A lane that was closed or handed back is nobody's, or somebody else's: STALE.
--
-- Never ends an instruction whose order may still execute, but where its account would rather lose sight of an order
-- than hold a lane (DEAD as outcome_unknown): that order stays UNKNOWN. Nor one of which Redis may have forgotten an
-- order, until that was looked up; what nobody can read was never sent.
--
-- Orders that rest at the venue are followed from here on, outside the lane.
--
-- A worker that has planned the next instruction already says what it would have `begin` do: so it is begun in the same
-- call, with all the checks of `begin`. Only one that nobody has begun or failed on; of any other it is handed out what is
-- on record. Re-sent, the next one is the head already, and gets the same answer as the first time.
--
-- KEYS[9..]  per item: lane stream, order HASH (or the prefix, where there is no order)
-- ARGV[2]    ms that ended records stay
-- ARGV[3]    ms that they stay where a dead letter may be replayed
-- ARGV[4]    longest wait in place, ms
-- ARGV[5]    probe ms
-- ARGV[6]    how many items there are
-- ARGV[7..]  per item: lane, token, holder, entry id, state, reason, detail, client order id or '', attempt,
--            order's new state or '', order's answer, market, signed quantity filled or '', where
--            a lane that holds more is handed back 'always' | 'if wanted' elsewhere, or '', and which of the intents
--            is of the next instruction, from 1, or ''
-- Behind the items, in KEYS as in ARGV, the intents, each as `intent_at` has them.
--
-- Returns per item: {'HEAD', ...} as `hand_out` answers | {'OK'} where it was handed back | {'CLOSED'} | {'STATE'}
--                   | {'STALE'} | {'ERROR', text}
--                   | {'BEGUN', now ms, admitted at ms, was it never handed out before 1|0, {...} as `begin` answers}

write_even_when_full()

local KEEP, KEEP_DEAD = ARGV[2], ARGV[3]
LONGEST_WAIT_US, PROBE_MS = tonumber(ARGV[4]) * 1000, tonumber(ARGV[5])
local ITEMS = tonumber(ARGV[6])

-- So many lanes of one holder are not worth sharing out: they wait for their venue.
local FEW = 8

-- How many lanes this call has handed back: they are not among those that wait for a slot.
local GIVEN = 0

-- Whether lanes of others wait for a slot, ready or parked; if not, how many lanes there are, how many of them the holder's,
-- and how many workers.
local function look_around(holder)
  if redis.call('ZCARD', PARKED) > 0 then return {others_wait = true} end
  local delivered = last_delivered()
  if not delivered or #redis.call('XRANGE', READY, '(' .. delivered, '+', 'COUNT', GIVEN + 1) > GIVEN then
    return {others_wait = true}
  end
  local held = GIVEN
  for _, one in ipairs(redis.call('XPENDING', READY, GROUP)[4] or {}) do
    if one[1] == holder then held = held + tonumber(one[2]) end
  end
  return {lanes = redis.call('HLEN', LANES), held = held, workers = redis.call('ZCARD', PREFIX .. 'workers')}
end

local AROUND

-- Whether a lane is of more use to others than to its holder: others wait for a slot, or he has more than his share of all
-- lanes. What Redis does not say counts as a yes. It is found out once for all items, who are of one holder: where there
-- are hundreds of workers that takes longer than an instruction.
local function is_wanted_elsewhere(holder)
  if not AROUND then
    local ok, around = pcall(look_around, holder)
    AROUND = ok and around or {others_wait = true}
  end
  if AROUND.others_wait then return true end
  local held, workers = AROUND.held - GIVEN, AROUND.workers
  return held > FEW and held * workers >= AROUND.lanes + workers
end

-- Hands out the head of a lane, or begins it, where it is the one that an intent is about and nobody has begun it or
-- failed on it before.
local function begin_or_hand_out(lane, lane_key, token, holder, head, successor, intent)
  if not intent or not head or head[1] ~= intent.entry then return hand_out(lane, lane_key, token, head) end
  local fields = fields_of(head)
  if not is_readable(fields) then return hand_out(lane, lane_key, token, head) end
  local known = read_head(fields)
  local is_untouched = not known.orders and known.plan == ''
  -- By the same call, before its answer was lost: it tells by its nonce.
  local may_be_begun = is_untouched or known.orders == intent.order
  if not may_be_begun or known.lost_holders ~= '0' or is_suspect(known.epoch) then
    return hand_out(lane, lane_key, token, head)
  end
  local ok, begun = pcall(begin_order, lane, token, holder, fields, known, intent, successor)
  -- What fails here fails whoever begins it by itself, and counts against it then.
  if not ok then return hand_out(lane, lane_key, token, head) end
  if begun[1] ~= 'GO' then redis.call('HSET', known.key, 'state', 'ACTIVE') end
  return {'BEGUN', NOW_TEXT, known.admitted_at, known.state == 'QUEUED' and '1' or '0', begun}
end

local answers = answer_each(ITEMS, function(i)
  local k, a = 9 + (i - 1) * 2, 7 + (i - 1) * 15
  local lane, token, holder, entry = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local state, reason, detail = ARGV[a + 4], ARGV[a + 5], ARGV[a + 6]
  local order, attempt, order_state, answer = ARGV[a + 7], ARGV[a + 8], ARGV[a + 9], ARGV[a + 10]
  local market, filled, goes_back = ARGV[a + 11], ARGV[a + 12], ARGV[a + 13]
  local lane_key, order_key = KEYS[k], KEYS[k + 1]
  local nth = tonumber(ARGV[a + 14])
  local intent = nth and intent_at(9 + ITEMS * 2 + (nth - 1) * 3, 7 + ITEMS * 15 + (nth - 1) * 17)
  if not is_held(lane, token, holder) then return {'STALE'} end
  local head, fields, entries = head_of(lane, lane_key, intent and 3 or 2)
  if not head then return close_lane(lane, lane_key, token) end
  if head ~= entry then return begin_or_hand_out(lane, lane_key, token, holder, entries[1], entries[2], intent) end
  local ends_order = false
  if order ~= '' and order_state ~= '' then
    local known = redis.call('HMGET', order_key, 'state', 'attempt')
    if known[2] ~= attempt then return {'STATE'} end
    ends_order = AMBIGUOUS[known[1]]
    if not ends_order and known[1] ~= order_state then return {'STATE'} end
  end
  local is_given_up = state == 'DEAD' and reason == 'outcome_unknown'
  local known = read_instruction(fields)
  if reason ~= 'malformed' and must_be_looked_up(known.epoch, known.orders) then return {'STATE'} end
  for one in string.gmatch(known.orders, '%S+') do
    local found = order_state
    if one ~= order or order_state == '' then found = redis.call('HGET', PREFIX .. 'order:' .. one, 'state') end
    if AMBIGUOUS[found] and not is_given_up then return {'STATE'} end
  end
  local hands_back = entries[2] and (goes_back == 'always' or (goes_back ~= '' and is_wanted_elsewhere(holder)))
  finish(lane, lane_key, entry, fields, known, state, reason, detail, KEEP, KEEP_DEAD, answer, order, order_state)
  if ends_order then
    if RESTING[order_state] then
      redis.call('HSET', order_key, 'state', order_state, 'answer', answer)
    else
      redis.call('HSET', order_key, 'state', order_state, 'answer', answer, 'ended_at', NOW_TEXT)
    end
    note_fill(fields.account, market, order, filled)
  end
  if hands_back then
    GIVEN = GIVEN + 1
    return hand_back(lane, token)
  end
  return begin_or_hand_out(lane, lane_key, token, holder, entries[2], entries[3], intent)
end)
renew_leases()
return answers
