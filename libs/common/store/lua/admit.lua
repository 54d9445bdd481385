-- admit: make alerts durable, each once, and give their lanes a token where they have none.
--
-- Atomic because a dedup key claimed without a queued instruction would turn the sender's resend into a
-- "duplicate" of nothing, an instruction without a token would never run, and a webhook's rate counted apart would
-- count what was not admitted. All accounts of an alert are written together, or none: a resend then completes it.
--
-- Write order: records and journal, token, fence, lane entry, then the dedup key and the rate. A token without
-- work is harmless; work without a token is not. A re-sent call carries the same alert id and gets the first answer.
-- Denied at the memory limit, on purpose; and from a share of it on, so that workers have room to end what is queued. Not
-- where an operator asks: who wants out of his positions then must not be kept in.
-- An alert for a lane that holds all it may is refused with all of its accounts. Either writes nothing, and what was
-- admitted before is still told. Here and not in the caller, since only here all ingresses see the same at once.
--
-- Where an alert's accounts lie on several shards each shard is called by itself: first the one that owns the id, with
-- the alert's dedup keys and rate; then each other with its part, under the id that the owner answered. A part's only
-- key names that id, so that a resend completes what is missing and queues nothing twice.
--
-- A flight that stood in a socket while Redis stood still must not trade what its sender was told is not durable:
-- past `not after` nothing is written. Every answer carries the time, so that the caller knows Redis' clock.
--
-- KEYS[9]    refused  STREAM  posts that were not admitted: duplicates leave a trace there
-- KEYS[10..] per item: alert; its seen keys, one for each alert that may have the same key; the webhook's bucket where
--            it has a rate; then per account of the item: instruction, lane
-- ARGV[2]    not after, ms, or '' where the caller does not know Redis' clock yet
-- ARGV[3]    bytes kept of posts that were not admitted
-- ARGV[4]    the most entries in one lane, or '' for any number
-- ARGV[5]    the share of Redis' memory from which on nothing is admitted, or '' where there is no need to look
-- ARGV[6]    1 where it is written at the memory limit too, or ''
-- ARGV[7]    how many items
-- ARGV[8]    how many terms: what items have in common stands once, since each word of a call costs Redis time
-- ARGV[9..]  per terms: webhook, dedup window ms, is sender's id (1|0, p: a part), seen keys n, rate interval us or '', its
--            burst or '', max age ms, clock skew ms, accounts n; then n times: account, schema version, '' or where the
--            account declines it how its share ends
--            then per item: which terms, alert id, digest, encoded alert, fired at ms or ''; then for each account of its
--            terms: market, lane, body; and where it declines a reason and a detail
--
-- Returns  {now ms, bytes used, bytes of memory (both 0 without a share), then per item: {'ADMITTED', alert id}
--          | {'DUPLICATE', first id, same body 1|0} | {'CONFLICT', first id} | {'THROTTLED', ms} | {'LATE', ''}
--          | {'MEMORY_FULL', ''} | {'LANE_FULL', lane, entries} | {'ERROR', text}}

if ARGV[6] ~= '' then write_even_when_full() end

-- No table is made for an item, since they are dear: its keys and words lie where its terms say. `k` and `a` are where those of the
-- next one begin, `terms.keys` and `terms.words` how many they are. `to.key` and `to.word` are how far from there an account's own
-- lie: instruction, lane; and market, lane, body, reason, detail.
local all_terms, k, a = {}, 10, 9
for n = 1, tonumber(ARGV[8]) do
  local terms = {webhook = ARGV[a], window = ARGV[a + 1], is_sender_id = ARGV[a + 2] == '1',
    is_part = ARGV[a + 2] == 'p', seen = tonumber(ARGV[a + 3]), interval = tonumber(ARGV[a + 4]),
    burst = tonumber(ARGV[a + 5]), max_age = tonumber(ARGV[a + 6]), skew = tonumber(ARGV[a + 7]), takers = {},
    decliners = {}, words = 5}
  terms.keys = 1 + terms.seen + (terms.interval and 1 or 0)
  local accounts, names, declined = tonumber(ARGV[a + 8]), {}, {}
  a = a + 9
  for i = 1, accounts do
    local to = {name = ARGV[a], version = ARGV[a + 1], state = ARGV[a + 2], key = terms.keys, word = terms.words}
    names[i] = to.name
    terms.keys, terms.words = terms.keys + 2, terms.words + 3
    if to.state == '' then
      terms.takers[#terms.takers + 1] = to
    else
      terms.decliners[#terms.decliners + 1] = to
      declined[#declined + 1] = to.name .. '=' .. to.state
      terms.words = terms.words + 2
    end
    a = a + 3
  end
  terms.accounts, terms.declined = table.concat(names, ' '), table.concat(declined, ' ')
  terms.open, terms.deadline = text(#terms.takers), text(NOW + terms.max_age)
  all_terms[n] = terms
end

local is_late = ARGV[2] ~= '' and NOW > tonumber(ARGV[2])
local most = ARGV[4] ~= '' and tonumber(ARGV[4]) or math.huge
local used, of = 0, 0
if ARGV[5] ~= '' then used, of = memory() end
local epoch = redis.call('HGET', META, 'epoch') or '0'
local is_memory_full = of > 0 and used / of >= tonumber(ARGV[5])

local function duplicate(terms, alert, first, is_same)
  -- At the memory limit there is no trace; that the alert is durable is told all the same.
  pcall(keep_post, KEYS[9], tonumber(ARGV[3]), {'event', alert, 'webhook', terms.webhook, 'status', '200',
    'code', 'duplicate', 'alert', first})
  return {'DUPLICATE', first, is_same and '1' or '0'}
end

-- The first free one of an item's seen keys, from KEYS[from] on; or what to answer where there is none.
local function claim(terms, from, alert, digest)
  local free, first
  for at = from, from + terms.seen - 1 do
    local key = KEYS[at]
    local seen = redis.call('GET', key)
    if seen then
      local known, known_digest = string.match(seen, '^([^|]*)|(.*)$')
      if terms.is_part then return nil, {'DUPLICATE', alert, '1'} end
      if known == alert then return nil, {'ADMITTED', known} end
      if terms.is_sender_id and known_digest ~= digest then return nil, {'CONFLICT', known or ''} end
      -- The same body is a resend, whatever else is free.
      if known_digest == digest then return nil, duplicate(terms, alert, known or '', true) end
      first = first or known or ''
    else
      free = free or key
    end
  end
  if not free then return nil, duplicate(terms, alert, first) end
  return free
end

-- When the webhook's bucket would be full after one more, or nil and how long to wait, ms.
local function fill(terms, bucket)
  local depth = terms.interval * terms.burst
  local full_at = tonumber(redis.call('GET', bucket) or '0') or 0
  -- Beyond what an unmoved clock and this rate allow: a clock that stepped back must not close the door.
  if full_at > NOW_US + depth then full_at = 0 end
  local next_full_at = math.max(full_at, NOW_US) + terms.interval
  local ahead = next_full_at - NOW_US - depth
  if ahead > 0 then return nil, math.ceil(ahead / 1000) end
  return next_full_at
end

local answers = answer_each(tonumber(ARGV[7]), function()
  -- What the item says, and where the next one begins: before anything that can fail.
  local terms, alert, digest, encoded = all_terms[tonumber(ARGV[a])], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local fired_at, key_at, word_at = ARGV[a + 4], k, a
  k, a = k + terms.keys, a + terms.words

  local seen, answer = claim(terms, key_at + 1, alert, digest)
  if not seen then return answer end
  if is_late then return {'LATE', ''} end
  local bucket, full_at = KEYS[key_at + 1 + terms.seen], nil
  if terms.interval then
    local wait
    full_at, wait = fill(terms, bucket)
    if not full_at then return {'THROTTLED', text(wait)} end
  end
  if is_memory_full then return {'MEMORY_FULL', ''} end
  local lacks_token -- by the number of the taker; no table where no lane does
  for n, to in ipairs(terms.takers) do
    local lane = ARGV[word_at + to.word + 1]
    -- A stream of a wrong type fails here: after a first account's entry the sender's resend would trade that twice.
    local waiting = redis.call('XLEN', KEYS[key_at + to.key + 1])
    if waiting >= most then return {'LANE_FULL', lane, text(waiting)} end
    if redis.call('HEXISTS', LANES, lane) == 0 and not redis.call('ZSCORE', PARKED, lane) then
      lacks_token = lacks_token or {}
      lacks_token[n] = true
    end
  end
  local deadline = terms.deadline
  if fired_at ~= '' and tonumber(fired_at) <= NOW + terms.skew then
    deadline = text(math.min(tonumber(fired_at), NOW) + terms.max_age)
  end
  local alert_key = KEYS[key_at]
  redis.call('HSET', alert_key, 'alert', encoded, 'open', terms.open, 'admitted_at', NOW_TEXT,
    'accounts', terms.accounts)
  if terms.declined ~= '' then redis.call('HSET', alert_key, 'ended', terms.declined) end
  for n, to in ipairs(terms.takers) do
    local at = word_at + to.word
    local lane, body = ARGV[at + 1], ARGV[at + 2]
    -- First, since its id belongs into the record: one write fewer.
    local id = write_journal('QUEUED', alert, to.name, lane, 'admitted', terms.webhook)
    redis.call('HSET', KEYS[key_at + to.key], 'state', 'QUEUED', 'reason', 'admitted', 'admitted_at', NOW_TEXT,
      'epoch', epoch, 'deadline', deadline, 'lane', lane, 'market', ARGV[at], 'journal', id)
    if lacks_token and lacks_token[n] then
      issue_token(lane, 'version', to.version, 'alert', alert, 'account', to.name, 'deadline', deadline,
        'body', body)
    end
    redis.call('XADD', KEYS[key_at + to.key + 1], '*', 'version', to.version, 'alert', alert, 'account', to.name,
      'deadline', deadline, 'body', body)
  end
  redis.call('SET', seen, alert .. '|' .. digest, 'PX', terms.window)
  if full_at then redis.call('SET', bucket, text(full_at), 'PX', math.ceil((full_at - NOW_US) / 1000)) end
  for _, to in ipairs(terms.decliners) do
    local at, key = word_at + to.word, KEYS[key_at + to.key]
    local lane, reason, detail = ARGV[at + 1], ARGV[at + 3], ARGV[at + 4]
    local id = write_journal(to.state, alert, to.name, lane, reason, detail)
    redis.call('HSET', key, 'state', to.state, 'reason', reason, 'detail', detail, 'admitted_at', NOW_TEXT,
      'epoch', epoch, 'deadline', deadline, 'lane', lane, 'market', '', 'ended_at', NOW_TEXT, 'journal', id)
    if SEVERITY[to.state] > SEVERITY.SKIPPED then
      write_dead_letter(lane, {alert = alert, account = to.name, version = to.version, deadline = deadline,
        body = ARGV[at + 2]}, to.state, reason, detail, '0')
    end
  end
  if #terms.takers == 0 then
    -- Other shards hold those that take it: here nothing will end that could give these records their expiry.
    redis.call('HSET', alert_key, 'state', worst_of(terms.declined))
    redis.call('PEXPIRE', alert_key, UNREADABLE_KEPT)
    for _, to in ipairs(terms.decliners) do redis.call('PEXPIRE', KEYS[key_at + to.key], UNREADABLE_KEPT) end
  end
  return {'ADMITTED', alert}
end)
return {NOW_TEXT, text(used), text(of), unpack(answers)}
