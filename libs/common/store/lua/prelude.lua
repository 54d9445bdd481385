-- Shared by every script: names for the fixed keys, the clock, and the few moves that several scripts make.
--
-- KEYS[1]  prefix    absent  first write of a worker's or the reaper's script; prefix of records named by data
-- KEYS[2]  ready     STREAM  tokens, consumer group `workers`
-- KEYS[3]  lanes     HASH    lane -> token|holder
-- KEYS[4]  parked    ZSET    lane -> due time, ms
-- KEYS[5]  journal   STREAM  every state change
-- KEYS[6]  dead      STREAM  dead letters
-- KEYS[7]  breakers  HASH    scope -> state|generation|reset_at|probe_until
-- KEYS[8]  meta      HASH    the reaper's last time, the revision of what is configured, bytes kept of refused posts,
--                            which start of Redis this is and what its data may lack
-- ARGV[1]  time to use instead of Redis' own, ms; empty in production

local PREFIX, READY, LANES, PARKED = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local JOURNAL, DEAD, BREAKERS, META = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local GROUP = 'workers'

-- The keys of what a script finds out as it goes, as `store/keys.py` describes them.
local HALTS, FOLLOWING = PREFIX .. 'halts', PREFIX .. 'following'
local function instruction_key(alert, account) return PREFIX .. 'instruction:' .. alert .. ':' .. account end
local function risk_key(account) return PREFIX .. 'risk:' .. account end
local function fills_key(account) return PREFIX .. 'fills:' .. account end

-- As in `domain/lifecycle.py`: an order may or may not exist at the venue; it waits there.
local AMBIGUOUS = {SENDING = true, UNKNOWN = true}
local RESTING = {ACCEPTED = true, PARTIAL = true}

-- How often a paused lane asks again, ms: a resumed account goes on within this.
local HALTED_MS = 2000

-- The newest fills of an account that are kept, about; held against `store/reconciliation.py` by a test.
local FILLS_KEPT = 10000

-- Whole numbers only; `%d` is several times as fast as a float's format, but where Redis was built for 32 bits it holds no time.
local WHOLE = string.format('%d', 2 ^ 40) == '1099511627776' and '%d' or '%.0f'
local function text(number) return string.format(WHOLE, number) end

-- Redis' time in microseconds, read once: it does not advance within a script.
local NOW_US = (function()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) * 1000 end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end)()
local NOW = math.floor(NOW_US / 1000)
local NOW_TEXT = text(NOW)

-- At the memory limit Redis denies a script whose first write may grow memory. Workers and the reaper must
-- finish what was begun, so their first write is one that is never denied.
local function write_even_when_full() redis.call('DEL', PREFIX) end

-- Runs `item(i)` for i in 1..count; one that raises answers ERROR alone. But of a replica nobody's item is to blame: the
-- whole call fails, so that its connection is not used again.
local function answer_each(count, item)
  local answers = {}
  for i = 1, count do
    local ok, answer = pcall(item, i)
    if ok then
      answers[i] = answer
    else
      local words = type(answer) == 'table' and (answer.err or 'unknown error') or tostring(answer)
      if string.find(words, "READONLY You can't write", 1, true) then error(answer) end
      answers[i] = {'ERROR', words}
    end
  end
  return answers
end

-- What Redis uses of its memory and how much there is, bytes: its limit, or all of its machine's. 0, 0 where it does
-- not say. It costs as much as thirty other commands: once a call is enough.
local function memory()
  local info = redis.pcall('INFO', 'memory')
  if type(info) ~= 'string' then return 0, 0 end
  local function figure(name)
    -- A plain search is several times as fast as one for a pattern.
    local _, at = string.find(info, '\n' .. name .. ':', 1, true)
    return at and tonumber(string.match(info, '^%d+', at + 1)) or 0
  end
  local used, limit = figure('used_memory'), figure('maxmemory')
  -- Buffers of replicas and of the append-only file do not count against the limit.
  if limit > 0 then return used - figure('mem_not_counted_for_evict'), limit end
  return used, figure('total_system_memory')
end

local EPOCH, SUSPECT_UNTIL

-- Whether Redis may have forgotten an order of an instruction, by the epoch it was admitted in: one that left before
-- Redis came back without its newest writes; see `incarnate`. Read once: a script that runs sees one Redis.
local function is_suspect(epoch)
  if not EPOCH then
    local marks = redis.call('HMGET', META, 'epoch', 'suspect_until', 'suspect_window')
    EPOCH = tonumber(marks[1] or '') or 0
    -- The return is past, so the last request is over within a window: also where the clock has stepped back since.
    SUSPECT_UNTIL = math.min(tonumber(marks[2] or '') or 0, NOW + (tonumber(marks[3] or '') or 0))
  end
  return (tonumber(epoch or '') or 0) < EPOCH
end

-- Whether an order of a suspect instruction is looked up, or was, for what the newest return of Redis may have lost.
local function is_cleared(cleared) return tonumber(cleared or '') == EPOCH end

-- The states of an order that another attempt may have followed, of which Redis does not know.
local function may_lack_attempts(state) return not state or state == 'NOT_EXECUTED' or AMBIGUOUS[state] end

-- Whether an instruction may not end yet: Redis may have forgotten an order of it, which was not looked up.
local function must_be_looked_up(epoch, orders)
  if not is_suspect(epoch) then return false end
  if (orders or '') == '' then return true end
  for order in string.gmatch(orders, '%S+') do
    local known = redis.call('HMGET', PREFIX .. 'order:' .. order, 'state', 'cleared')
    if may_lack_attempts(known[1]) and not is_cleared(known[2]) then return true end
  end
  return false
end

local function token_of(fence)
  local bar = fence and string.find(fence, '|', 1, true)
  return bar and string.sub(fence, 1, bar - 1) or ''
end

local function is_held(lane, token, holder) return redis.call('HGET', LANES, lane) == token .. '|' .. holder end

local function drop_token(token)
  redis.call('XACK', READY, GROUP, token)
  redis.call('XDEL', READY, token)
end

-- What else is given, names and values, is for its reader: nobody relies on it.
local function issue_token(lane, ...)
  local token = redis.call('XADD', READY, '*', 'lane', lane, ...)
  redis.call('HSET', LANES, lane, token .. '|')
  return token
end

-- Names the holder of a lane in its fence; tells whether the token is current. One that is not is dropped.
local function take_lane(lane, token, holder)
  if token_of(redis.call('HGET', LANES, lane)) ~= token then
    drop_token(token)
    return false
  end
  redis.call('HSET', LANES, lane, token .. '|' .. holder)
  return true
end

-- Gives a held lane a new token, at the tail of those that are ready.
local function hand_back(lane, token)
  drop_token(token)
  issue_token(lane)
  return {'OK'}
end

-- The newest token that a worker was given; nil where the group is gone.
local function last_delivered()
  local groups = redis.call('EXISTS', READY) == 1 and redis.call('XINFO', 'GROUPS', READY) or {}
  for _, group in ipairs(groups) do
    local facts = {}
    for i = 1, #group, 2 do facts[group[i]] = group[i + 1] end
    if facts.name == GROUP then return facts['last-delivered-id'] end
  end
  return nil
end

-- Starts leases afresh, as far as there are any: with a token, the group or the stream gone there is nothing to renew,
-- which the audit heals; what the caller has to say stays true. Together at the end, since several tokens of a holder
-- cost little more than one.
local TO_RENEW = {}

local function renew_lease(token, holder)
  TO_RENEW[holder] = TO_RENEW[holder] or {}
  table.insert(TO_RENEW[holder], token)
end

local function renew_leases()
  for holder, tokens in pairs(TO_RENEW) do
    tokens[#tokens + 1] = 'JUSTID'
    redis.pcall('XCLAIM', READY, GROUP, holder, '0', unpack(tokens))
  end
end

-- Whether tokens can be pending at all: the group may have been destroyed by hand, until the audit creates it again.
local function has_group()
  return redis.call('EXISTS', READY) == 1 and not redis.pcall('XPENDING', READY, GROUP).err
end

-- `note` is JSON that a dispute may need: what led to an order, or what the venue said; nil or '' for none.
local function write_journal(event, alert, account, lane, reason, detail, note)
  local more = (note and note ~= '') and {'note', note} or {}
  return redis.call('XADD', JOURNAL, '*', 'event', event, 'alert', alert, 'account', account,
    'lane', lane, 'reason', reason, 'detail', detail, unpack(more))
end

-- Keeps a post that was not admitted for operators, in a stream that is bounded by bytes: whoever floods the door
-- pushes out older posts, and nothing else. `fields` is a flat list of names and values, all text.
local function keep_post(stream, max_bytes, fields)
  local size = 0
  for _, word in ipairs(fields) do size = size + #word end
  fields[#fields + 1], fields[#fields + 2] = 'size', text(size)
  redis.call('XADD', stream, '*', unpack(fields))
  local total = redis.call('HINCRBY', META, 'refused_bytes', size)
  while total > max_bytes do
    local oldest, newer = unpack(redis.call('XRANGE', stream, '-', '+', 'COUNT', 2))
    -- What else was counted somebody took out by hand.
    if not newer then
      redis.call('HSET', META, 'refused_bytes', text(size))
      return
    end
    local held = 0
    for i = 1, #oldest[2], 2 do
      if oldest[2][i] == 'size' then held = tonumber(oldest[2][i + 1]) or 0 end
    end
    redis.call('XDEL', stream, oldest[1])
    total = redis.call('HINCRBY', META, 'refused_bytes', -held)
  end
end

-- How long ago an instruction was admitted first, ms.
local function age_of(key)
  return text(math.max(0, NOW - (tonumber(redis.call('HGET', key, 'admitted_at') or '') or NOW)))
end

-- Adds one journal entry and remembers its id in the instruction, so that an alert's history is read without
-- a search. `extra` are further fields to set; `past` are the ids before, false for none, nil to have them read.
local function record(key, event, alert, account, lane, reason, detail, extra, note, past)
  local id = write_journal(event, alert, account, lane, reason, detail, note)
  if past == nil then past = redis.call('HGET', key, 'journal') end
  redis.call('HSET', key, 'journal', past and (past .. ' ' .. id) or id, unpack(extra))
end

local HAS_HALTS

-- Which halt stops what is about to be sent: nil, or 'reject' | 'pause', and which it is, in words. An exit
-- passes close-only. Of several the strictest rules: a refusal is final, a pause only puts off.
local function halted(account, strategy, market, is_exit)
  if HAS_HALTS == nil then HAS_HALTS = redis.call('EXISTS', HALTS) == 1 end
  if not HAS_HALTS then return nil end
  local scopes = {}
  for _, a in ipairs({'*', account}) do
    for _, s in ipairs({'*', strategy}) do
      for _, m in ipairs({'*', market}) do
        scopes[#scopes + 1] = 'account=' .. a .. ';strategy=' .. s .. ';symbol=' .. m
      end
    end
  end
  local pause
  for n, halt in ipairs(redis.call('HMGET', HALTS, unpack(scopes))) do
    local mode, reason = string.match(halt or '', '^([^|]*)|[^|]*|[^|]*|(.*)$')
    if mode == 'pause' then
      pause = 'pause of ' .. scopes[n] .. ': ' .. reason
    elseif mode == 'close-only' and is_exit then
      -- It goes on.
    elseif halt then
      -- What cannot be read was meant to stop something.
      return 'reject', (mode or halt) .. ' of ' .. scopes[n] .. ': ' .. (reason or '')
    end
  end
  if pause then return 'pause', pause end
  return nil
end

local function fields_of(entry)
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  return fields
end

-- Strict, since names become keys and a number that only Lua can read would fail whoever gets it.
local function is_named(fields)
  return fields.alert and string.find(fields.alert, '^[%w_%-]+$')
    and fields.account and string.find(fields.account, '^[%w_.%-]+$')
end

local function is_readable(fields)
  return fields.version and string.find(fields.version, '^%d+$') and #fields.version < 10 and is_named(fields)
    and fields.deadline and string.find(fields.deadline, '^%d+$') and #fields.deadline < 16
    and fields.body
end

-- The trace context in an encoded instruction, or nil. Within a text of the sender's the quotes would be escaped.
local function traceparent_of(body)
  -- A plain search is several times as fast as one for a pattern, and most bodies may have none.
  local at = string.find(body, '"traceparent":"', 1, true)
  return at and string.match(body, '^([%x%-]+)"', at + 15)
end

-- Keeps an instruction that ended badly for operators. `fields` are those of its lane's entry; what it lacks is ''.
local function write_dead_letter(lane, fields, state, reason, detail, attempts)
  redis.call('XADD', DEAD, '*', 'alert', fields.alert or '', 'account', fields.account or '', 'lane', lane,
    'state', state, 'reason', reason, 'detail', detail, 'attempts', attempts, 'version', fields.version or '',
    'deadline', fields.deadline or '', 'body', fields.body or '')
end

local SEVERITY = {EXECUTED = 1, SKIPPED = 2, REJECTED = 3, EXPIRED = 4, DEAD = 5}

-- The worst of the states in which an alert's instructions ended: `ended` lists them as account=STATE.
local function worst_of(ended)
  local worst = 'EXECUTED'
  for state in string.gmatch(ended, '=(%u+)') do
    if SEVERITY[state] > SEVERITY[worst] then worst = state end
  end
  return worst
end

-- What an account's risk limits hold back for one order, as `begin` reserved it: `at|value|may rest 1|0|released at or
-- 0`. It still counts against readings that were taken before its release.
local function release_reservations(account, orders)
  local key = risk_key(account)
  for order in string.gmatch(orders, '%S+') do
    local held = string.match(redis.call('HGET', key, order) or '', '^(%d+|[^|]*|[01])|0$')
    if held then redis.call('HSET', key, order, held .. '|' .. NOW_TEXT) end
  end
end

-- Notes what was newly filled, for the comparison with the venue's positions. '' is nothing, or not compared.
local function note_fill(account, market, order, quantity)
  if quantity == '' then return end
  redis.call('XADD', fills_key(account), 'MAXLEN', '~', FILLS_KEPT, '*', 'market', market, 'order', order,
    'quantity', quantity, 'at', NOW_TEXT)
end

-- What ending an instruction takes, read at once.
local function read_instruction(fields)
  local key = instruction_key(fields.alert, fields.account)
  local known = redis.call('HMGET', key, 'state', 'epoch', 'orders', 'attempts', 'reserved', 'journal', 'market')
  return {key = key, state = known[1], epoch = known[2], orders = known[3] or '', attempts = known[4] or '0',
    has_reserved = known[5], journal = known[6], market = known[7]}
end

-- Ends one instruction: its state, its alert's once all have ended, its dead letter, its expiry.
-- known: of `read_instruction`; keep: ms that ended records stay; keep_dead: the same where a dead letter may be
-- replayed; ends, ends_as: an order whose new state is about to be written.
local function finish(lane, lane_key, entry_id, fields, known, state, reason, detail, keep, keep_dead, note, ends,
  ends_as)
  local alert_key = PREFIX .. 'alert:' .. fields.alert
  -- Every read comes first: a key of a wrong type fails here, before anything is written.
  local of_alert = redis.call('HMGET', alert_key, 'ended', 'accounts', 'open')
  local ended = (of_alert[1] and of_alert[1] .. ' ' or '') .. fields.account .. '=' .. state
  local open = (tonumber(of_alert[3] or '') or 0) - 1
  local leaves_letter = SEVERITY[state] > SEVERITY.SKIPPED
  record(known.key, state, fields.alert, fields.account, lane, reason, detail,
    {'state', state, 'reason', reason, 'detail', detail, 'ended_at', NOW_TEXT, 'running', ''}, note, known.journal)
  if known.has_reserved then release_reservations(fields.account, known.orders) end
  -- An order record outlives every dead letter that could send it again. One that rests is followed from here on,
  -- outside the lane, and gets its expiry when it ends.
  for order in string.gmatch(known.orders, '%S+') do
    local order_key = PREFIX .. 'order:' .. order
    local now = order == ends and ends_as or redis.call('HGET', order_key, 'state')
    if RESTING[now] then
      redis.call('ZADD', FOLLOWING, NOW_TEXT, order)
    else
      redis.call('PEXPIRE', order_key, keep_dead)
    end
  end
  if open > 0 then
    redis.call('HSET', alert_key, 'open', text(open), 'ended', ended)
  else
    local worst = worst_of(ended)
    local stays = SEVERITY[worst] > SEVERITY.SKIPPED and keep_dead or keep
    redis.call('HSET', alert_key, 'open', text(open), 'ended', ended, 'state', worst)
    redis.call('PEXPIRE', alert_key, stays)
    -- All at once: while one of them is open, an alert is shown with all of its instructions.
    for account in string.gmatch(of_alert[2] or fields.account, '%S+') do
      redis.call('PEXPIRE', instruction_key(fields.alert, account), stays)
    end
  end
  if leaves_letter then write_dead_letter(lane, fields, state, reason, detail, known.attempts) end
  redis.call('XDEL', lane_key, entry_id)
end

-- How long the records of an unreadable entry stay, ms: whoever meets it is not told the retention. 32 days, beyond
-- the default of dead letters.
local UNREADABLE_KEPT = '2764800000'

-- An entry that nobody can read: kept as a dead letter with all it held, out of the way of its neighbours. Where it
-- names an instruction that waits for it, that one ends with it.
local function dead_letter_unreadable(lane, lane_key, entry)
  local fields = fields_of(entry)
  local held = cjson.encode(entry[2])
  if is_named(fields) then
    local known = read_instruction(fields)
    local is_open, may_have_traded = known.state == 'QUEUED' or known.state == 'ACTIVE', false
    for order in string.gmatch(known.orders, '%S+') do
      local state = redis.call('HGET', PREFIX .. 'order:' .. order, 'state')
      may_have_traded = may_have_traded or AMBIGUOUS[state]
    end
    if is_open and not may_have_traded then
      fields.version, fields.deadline, fields.body = fields.version or '', fields.deadline or '', fields.body or ''
      finish(lane, lane_key, entry[1], fields, known, 'DEAD', 'malformed', held, UNREADABLE_KEPT, UNREADABLE_KEPT)
      return
    end
  end
  write_journal('DEAD', fields.alert or '', fields.account or '', lane, 'malformed', held)
  write_dead_letter(lane, fields, 'DEAD', 'malformed', held, '0')
  redis.call('XDEL', lane_key, entry[1])
end

-- The oldest entry that can be read: its id, its fields, and a list of as many entries as `count` asks for, itself the
-- first; or nil.
local function head_of(lane, lane_key, count)
  while true do
    local entries = redis.call('XRANGE', lane_key, '-', '+', 'COUNT', count or 1)
    if not entries[1] then return nil end
    local fields = fields_of(entries[1])
    if is_readable(fields) then return entries[1][1], fields, entries end
    dead_letter_unreadable(lane, lane_key, entries[1])
  end
end

-- An emptied stream is still a key, so it is deleted: a lane that exists has work.
local function close_lane(lane, lane_key, token)
  redis.call('DEL', lane_key)
  redis.call('HDEL', LANES, lane)
  drop_token(token)
  return {'CLOSED'}
end

-- Hands the head of a lane to the holder of its token, with all that is known of its orders; or closes it. `head` is
-- the oldest entry where the caller has read it.
local function hand_out(lane, lane_key, token, head)
  local id, fields = head and head[1], head and fields_of(head)
  if not head or not is_readable(fields) then id, fields = head_of(lane, lane_key) end
  if not id then return close_lane(lane, lane_key, token) end
  local key = instruction_key(fields.alert, fields.account)
  local known = redis.call('HMGET', key, 'plan', 'orders', 'lost_holders', 'admitted_at', 'epoch', 'state')
  redis.call('HSET', key, 'state', 'ACTIVE', 'running', token)
  local answer = {'HEAD', id, fields.alert, fields.account, fields.version, fields.body, fields.deadline, NOW_TEXT,
    known[1] or '', known[3] or '0', known[4] or '0', is_suspect(known[5]) and '1' or '0',
    known[6] == 'QUEUED' and '1' or '0'}
  for order in string.gmatch(known[2] or '', '%S+') do
    local state = redis.call('HMGET', PREFIX .. 'order:' .. order, 'state', 'attempt', 'expires_at', 'misses', 'answer',
      'cleared')
    local at = #answer
    answer[at + 1], answer[at + 2], answer[at + 3] = order, state[1] or '', state[2] or '0'
    answer[at + 4], answer[at + 5], answer[at + 6] = state[3] or '0', state[4] or '0', state[5] or ''
    answer[at + 7] = is_cleared(state[6]) and '1' or '0'
  end
  return answer
end
