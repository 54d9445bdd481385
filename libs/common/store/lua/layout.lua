-- layout: note over how many shards accounts are spread, or find out that it was another number.
--
-- Atomic because of two services that start at a time with different numbers only one may start.
--
-- Redis holds one shard where it was used before numbers were noted: a start of it was met, or work was queued. So
-- this comes before anything else is called on a Redis. Where Redis is full nothing is noted: the next start does.
--
-- ARGV[2]  number of shards
-- ARGV[3]  how accounts are spread over them
--
-- Returns  {number, how} as they are noted

local function meta(field) return redis.call('HGET', META, field) end

local number, how = meta('shards'), meta('hash')
if number then return {number, how or ''} end
local was_used = meta('run_id') or #redis.call('XRANGE', READY, '-', '+', 'COUNT', 1) > 0
number, how = was_used and '1' or ARGV[2], ARGV[3]
if number == ARGV[2] then redis.pcall('HSET', META, 'shards', number, 'hash', how) end
return {number, how}
