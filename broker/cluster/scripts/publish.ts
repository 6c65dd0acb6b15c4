import { script } from './script.ts';

/** Packet identifiers of QoS 2 messages of one session that may wait for their PUBREL. */
const MAX_INBOUND = 1_000;

/** How much longer the queue of a connected client may grow: a burst runs ahead of its acknowledgements. */
export const CONNECTED_FACTOR = 10;

/**
 * Publishes a message: queues it for sessions that are kept, retains it, and sends it to all brokers.
 *
 * ARGV: number of the last change of filters that the broker knows of · topic · QoS · `set`, `clear` or empty for what
 * is retained · owner of that, its limits of messages, bytes, and of all · client id and connection of the publisher,
 * of a will the connection alone · packet identifier, of QoS 2 · limits of messages and bytes of a queue · the message ·
 * dead broker, of a will that one left: then the client id is its owner's · client ids.
 * Answers with its number, or a word why not; then the client ids whose queue is full.
 */
export const publishMessage = script(`
local applied, topic, qos, retain = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local keeper, maxKept, maxKeptBytes, maxAll = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local publisher, owner, mid = ARGV[9], ARGV[10], ARGV[11]
local maxMessages, maxBytes, body, dead = tonumber(ARGV[12]), tonumber(ARGV[13]), ARGV[14], ARGV[15]

if dead ~= '' then
  -- Its device is back, or another broker published it.
  if redis.call('HEXISTS', p .. 'live', publisher) == 1 then return { 'fenced' } end
  if redis.call('HEXISTS', p .. 'wills:' .. dead, publisher) == 0 then return { 'fenced' } end
elseif publisher == '' then
  -- Its broker was taken for dead, and what it left is with the others.
  if not redis.call('ZSCORE', p .. 'brokers', brokerOf(owner)) then return { 'fenced' } end
elseif not owns(publisher, owner) then return { 'fenced' } end
if mid ~= '' then
  local known = p .. 'in:' .. publisher
  if redis.call('SISMEMBER', known, mid) == 1 then return { 'repeated' } end
  if redis.call('SCARD', known) >= ${MAX_INBOUND} then return { 'too_many_inbound' } end
end

local targets = {}
for i = 16, #ARGV do targets[ARGV[i]] = true end
if qos > 0 then
  local changed = tonumber(redis.call('GET', p .. 'changed') or '0')
  if changed > applied then
    local levels = {}
    for level in string.gmatch(topic .. '/', '([^/]*)/') do levels[#levels + 1] = level end
    local function matches(filter)
      local at = 0
      for level in string.gmatch(filter .. '/', '([^/]*)/') do
        at = at + 1
        if at == 1 and (level == '#' or level == '+') and string.sub(topic, 1, 1) == '$' then return false end
        if level == '#' then return true end
        if at > #levels or (level ~= '+' and level ~= levels[at]) then return false end
      end
      return at == #levels
    end
    local log = p .. 'changes'
    local gone = tonumber(redis.call('GET', p .. 'changes-gone') or '0')
    if applied < gone or redis.call('EXISTS', log) == 0 then return { 'stale' } end
    for _, entry in ipairs(redis.call('XRANGE', log, '(' .. text(applied) .. '-18446744073709551615', '+')) do
      local change = entry[2]
      if matches(change[4]) then targets[change[2]] = true end
    end
  end
end

local function release(keeper, size)
  if redis.call('HINCRBY', p .. 'retained-count', keeper, -1) <= 0 then
    redis.call('HDEL', p .. 'retained-count', keeper)
    redis.call('HDEL', p .. 'retained-bytes', keeper)
  else
    redis.call('HINCRBY', p .. 'retained-bytes', keeper, -size)
  end
end
if retain == 'set' then
  local kept, before = p .. 'retained', redis.call('HGET', p .. 'retained-owner', topic)
  local size = #topic + #body
  local old = before and (#topic + redis.call('HSTRLEN', kept, topic)) or 0
  local count = tonumber(redis.call('HGET', p .. 'retained-count', keeper) or '0')
  local bytes = tonumber(redis.call('HGET', p .. 'retained-bytes', keeper) or '0')
  local own = before == keeper
  if (not before and redis.call('HLEN', kept) >= maxAll) or (not own and count >= maxKept)
    or bytes - (own and old or 0) + size > maxKeptBytes then
    return { 'too_many_retained' }
  end
  if before then release(before, old) end
  redis.call('HSET', kept, topic, body)
  redis.call('HSET', p .. 'retained-owner', topic, keeper)
  redis.call('HINCRBY', p .. 'retained-count', keeper, 1)
  redis.call('HINCRBY', p .. 'retained-bytes', keeper, size)
elseif retain == 'clear' then
  local before = redis.call('HGET', p .. 'retained-owner', topic)
  if before then
    release(before, #topic + redis.call('HSTRLEN', p .. 'retained', topic))
    redis.call('HDEL', p .. 'retained', topic)
    redis.call('HDEL', p .. 'retained-owner', topic)
  end
end
if mid ~= '' then redis.call('SADD', p .. 'in:' .. publisher, mid) end
if dead ~= '' then redis.call('HDEL', p .. 'wills:' .. dead, publisher) end

local seq = say('m', body)
local answer = { text(seq) }
for id in pairs(targets) do
  if redis.call('HEXISTS', p .. 'kept', id) == 1 then
    local queue = p .. 'queue:' .. id
    local live = redis.call('HGET', p .. 'live', id)
    local factor = live and ${CONNECTED_FACTOR} or 1
    local bytes = tonumber(redis.call('HGET', p .. 'queued', id) or '0')
    if redis.call('XLEN', queue) >= maxMessages * factor or bytes + #body > maxBytes * factor then
      answer[#answer + 1] = id
      if live then say('c', cjson.encode({ id, live, 'queue_full' })) end
    else
      redis.call('XADD', queue, text(seq) .. '-1', 'm', body)
      redis.call('HINCRBY', p .. 'queued', id, #body)
    end
  end
end
return answer
`);
