-- admit: make alerts durable, each once, and give their lanes a token where they have none.
--
-- Atomic because a dedup key claimed without a queued instruction would turn the sender's resend into a
-- "duplicate" of nothing, an instruction without a token would never run, and a webhook's rate counted apart would
-- count what was not admitted. All accounts of an alert are written together, or none: a resend then completes it.
--
-- Write order: records and journal, token, fence, lane entry, then the dedup key and the rate. A token without
-- work is harmless; work without a token is not. A re-sent call carries the same alert id and gets the first answer.
-- Denied at the memory limit, on purpose; and from a share of it on, so that workers have room to end what is queued.
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
-- ARGV[5]    the share of Redis' memory from which on nothing is admitted, or '' for none
-- ARGV[6..]  per item: alert id, webhook, dedup window ms, digest, is sender's id (1|0, p: a part), seen keys n, rate
--            interval us or '', with a rate its burst, encoded alert, fired at ms or '', max age ms, clock skew ms, accounts n;
--            then n times: account, market, lane, body, schema version, '' or where the account declines it how its
--            share ends, and then also a reason and a detail
--
-- Returns  {now ms, bytes used, bytes of memory (both 0 without a share), then per item: {'ADMITTED', alert id}
--          | {'DUPLICATE', first id, same body 1|0} | {'CONFLICT', first id} | {'THROTTLED', ms} | {'LATE', ''}
--          | {'MEMORY_FULL', ''} | {'LANE_FULL', lane, entries} | {'ERROR', text}}

local NOBODY = {}

local items, k, a = {}, 10, 6
while a <= #ARGV do
  local item = {
    alert_key = KEYS[k], alert = ARGV[a], webhook = ARGV[a + 1], window = ARGV[a + 2], digest = ARGV[a + 3],
    is_sender_id = ARGV[a + 4] == '1', is_part = ARGV[a + 4] == 'p', seen_from = k + 1,
    seen_to = k + tonumber(ARGV[a + 5]), takers = {}, decliners = NOBODY,
  }
  k = item.seen_to + 1
  if ARGV[a + 6] ~= '' then
    item.interval, item.burst, item.bucket = tonumber(ARGV[a + 6]), tonumber(ARGV[a + 7]), KEYS[k]
    k, a = k + 1, a + 1
  end
  item.encoded, item.fired_at = ARGV[a + 7], tonumber(ARGV[a + 8])
  item.max_age, item.skew = tonumber(ARGV[a + 9]), tonumber(ARGV[a + 10])
  local accounts = tonumber(ARGV[a + 11])
  a = a + 12
  for _ = 1, accounts do
    local to = {key = KEYS[k], lane_key = KEYS[k + 1], account = ARGV[a], market = ARGV[a + 1], lane = ARGV[a + 2],
      body = ARGV[a + 3], version = ARGV[a + 4]}
    item.accounts = item.accounts and (item.accounts .. ' ' .. to.account) or to.account
    if ARGV[a + 5] == '' then
      item.takers[#item.takers + 1] = to
    else
      to.state, to.reason, to.detail = ARGV[a + 5], ARGV[a + 6], ARGV[a + 7]
      if item.decliners == NOBODY then item.decliners = {} end
      item.decliners[#item.decliners + 1] = to
      a = a + 2
    end
    k, a = k + 2, a + 6
  end
  items[#items + 1] = item
end

local is_late = ARGV[2] ~= '' and NOW > tonumber(ARGV[2])
local most = ARGV[4] ~= '' and tonumber(ARGV[4]) or math.huge
local used, of = 0, 0
if ARGV[5] ~= '' then used, of = memory() end
local epoch = redis.call('HGET', META, 'epoch') or '0'
local is_memory_full = of > 0 and used / of >= tonumber(ARGV[5])

local function duplicate(item, first, is_same)
  -- At the memory limit there is no trace; that the alert is durable is told all the same.
  pcall(keep_post, KEYS[9], tonumber(ARGV[3]), {'event', item.alert, 'webhook', item.webhook, 'status', '200',
    'code', 'duplicate', 'alert', first})
  return {'DUPLICATE', first, is_same and '1' or '0'}
end

-- The first free key of an item, or what to answer where there is none.
local function claim(item)
  local free, first
  for at = item.seen_from, item.seen_to do
    local key = KEYS[at]
    local seen = redis.call('GET', key)
    if seen then
      local alert, digest = string.match(seen, '^([^|]*)|(.*)$')
      if item.is_part then return nil, {'DUPLICATE', item.alert, '1'} end
      if alert == item.alert then return nil, {'ADMITTED', alert} end
      if item.is_sender_id and digest ~= item.digest then return nil, {'CONFLICT', alert or ''} end
      -- The same body is a resend, whatever else is free.
      if digest == item.digest then return nil, duplicate(item, alert or '', true) end
      first = first or alert or ''
    else
      free = free or key
    end
  end
  if not free then return nil, duplicate(item, first) end
  return free
end

-- When the webhook's bucket would be full after one more, or nil and how long to wait, ms.
local function fill(item)
  local depth = item.interval * item.burst
  local full_at = tonumber(redis.call('GET', item.bucket) or '0') or 0
  -- Beyond what an unmoved clock and this rate allow: a clock that stepped back must not close the door.
  if full_at > NOW_US + depth then full_at = 0 end
  local next_full_at = math.max(full_at, NOW_US) + item.interval
  local ahead = next_full_at - NOW_US - depth
  if ahead > 0 then return nil, math.ceil(ahead / 1000) end
  return next_full_at
end

local answers = answer_each(#items, function(i)
  local item = items[i]
  local seen, answer = claim(item)
  if not seen then return answer end
  if is_late then return {'LATE', ''} end
  local full_at
  if item.interval then
    local wait
    full_at, wait = fill(item)
    if not full_at then return {'THROTTLED', text(wait)} end
  end
  if is_memory_full then return {'MEMORY_FULL', ''} end
  local has_token = {}
  for n, to in ipairs(item.takers) do
    -- A stream of a wrong type fails here: after a first account's entry the sender's resend would trade that twice.
    local waiting = redis.call('XLEN', to.lane_key)
    if waiting >= most then return {'LANE_FULL', to.lane, text(waiting)} end
    has_token[n] = redis.call('HEXISTS', LANES, to.lane) == 1 or redis.call('ZSCORE', PARKED, to.lane)
  end
  local born = NOW
  if item.fired_at and item.fired_at <= NOW + item.skew then born = math.min(item.fired_at, NOW) end
  local deadline = text(born + item.max_age)
  redis.call('HSET', item.alert_key, 'alert', item.encoded, 'open', #item.takers, 'admitted_at', NOW_TEXT,
    'accounts', item.accounts)
  if item.decliners ~= NOBODY then
    local declined = {}
    for n, to in ipairs(item.decliners) do declined[n] = to.account .. '=' .. to.state end
    redis.call('HSET', item.alert_key, 'ended', table.concat(declined, ' '))
  end
  for n, to in ipairs(item.takers) do
    -- First, since its id belongs into the record: one write fewer.
    local id = write_journal('QUEUED', item.alert, to.account, to.lane, 'admitted', item.webhook)
    redis.call('HSET', to.key, 'state', 'QUEUED', 'reason', 'admitted', 'admitted_at', NOW_TEXT,
      'epoch', epoch, 'deadline', deadline, 'lane', to.lane, 'market', to.market, 'journal', id)
    if not has_token[n] then
      issue_token(to.lane, 'version', to.version, 'alert', item.alert, 'account', to.account, 'deadline', deadline,
        'body', to.body)
    end
    redis.call('XADD', to.lane_key, '*', 'version', to.version, 'alert', item.alert, 'account', to.account,
      'deadline', deadline, 'body', to.body)
  end
  redis.call('SET', seen, item.alert .. '|' .. item.digest, 'PX', item.window)
  if full_at then redis.call('SET', item.bucket, text(full_at), 'PX', math.ceil((full_at - NOW_US) / 1000)) end
  for _, to in ipairs(item.decliners) do
    local id = write_journal(to.state, item.alert, to.account, to.lane, to.reason, to.detail)
    redis.call('HSET', to.key, 'state', to.state, 'reason', to.reason, 'detail', to.detail, 'admitted_at', NOW_TEXT,
      'epoch', epoch, 'deadline', deadline, 'lane', to.lane, 'market', '', 'ended_at', NOW_TEXT, 'journal', id)
    if SEVERITY[to.state] > SEVERITY.SKIPPED then
      write_dead_letter(to.lane, {alert = item.alert, account = to.account, version = to.version,
        deadline = deadline, body = to.body}, to.state, to.reason, to.detail, '0')
    end
  end
  if #item.takers == 0 then
    -- Other shards hold those that take it: here nothing will end that could give these records their expiry.
    local worst = worst_of(redis.call('HGET', item.alert_key, 'ended') or '')
    redis.call('HSET', item.alert_key, 'state', worst)
    redis.call('PEXPIRE', item.alert_key, UNREADABLE_KEPT)
    for _, to in ipairs(item.decliners) do redis.call('PEXPIRE', to.key, UNREADABLE_KEPT) end
  end
  return {'ADMITTED', item.alert}
end)
return {NOW_TEXT, text(used), text(of), unpack(answers)}
