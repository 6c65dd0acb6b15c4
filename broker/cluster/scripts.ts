/**
 * What is done in Redis, each act in one step: a script runs whole or not at all, and nothing of another broker comes
 * between. None is named as a command of Redis. All keys begin with KEYS[1]; there is one primary, so the others are named in the script (no Redis Cluster).
 *
 * | key | what |
 * |---|---|
 * | `seq` | number of the last message on the bus; also the id of what is queued |
 * | `live` | by client id, the connection that owns the session: `BROKER:NUMBER` |
 * | `kept`, `kept-of` | by client id, the token of a session that is kept, and its client and issuer |
 * | `sessions` | by client and issuer, how many are kept |
 * | `at:BROKER`, `wills:BROKER` | by client id, what `sessions list` shows, and the will |
 * | `brokers` | brokers by when they last said that they live |
 * | `subs:ID` | filters of a session that is kept, with their QoS |
 * | `changes`, `changed` | filters added lately, and the number of the last of them |
 * | `queue:ID`, `queued` | messages for a session, by number, and their bytes by client id |
 * | `sent:ID` | packet identifiers under way to a client, with the number of the message, after `r` once it was received |
 * | `in:ID` | packet identifiers of QoS 2 messages that wait for their PUBREL |
 * | `retained`, `retained-owner`, `retained-count`, `retained-bytes` | by topic the message and its owner; by owner how much |
 */
export interface Script {
  readonly numberOfKeys: 1;
  readonly lua: string;
}

/** Filters that were added lately and are remembered, for publishers that have not heard of them. */
const MAX_CHANGES = 10_000;

/** Packet identifiers of QoS 2 messages of one session that may wait for their PUBREL. */
const MAX_INBOUND = 1_000;

/** How much longer the queue of a connected client may grow: a burst runs ahead of its acknowledgements. */
export const CONNECTED_FACTOR = 10;

const prelude = `
local p = KEYS[1]
local function text(number) return string.format('%.0f', number) end
-- Numbers and sends in one step: who listens sees every number, in order.
local function say(kind, body)
  local seq = redis.call('INCR', p .. 'seq')
  redis.call('PUBLISH', p .. 'bus', text(seq) .. ' ' .. kind .. body)
  return seq
end
local function owns(id, owner) return redis.call('HGET', p .. 'live', id) == owner end
-- Takes a message out of the queue.
local function drop(id, seq)
  local queue = p .. 'queue:' .. id
  local entry = redis.call('XRANGE', queue, seq .. '-1', seq .. '-1')[1]
  if not entry then return end
  redis.call('XDEL', queue, entry[1])
  if redis.call('XLEN', queue) == 0 then
    redis.call('DEL', queue)
    redis.call('HDEL', p .. 'queued', id)
  else
    redis.call('HINCRBY', p .. 'queued', id, -#entry[2][2])
  end
end
-- The broker that a connection is of.
local function brokerOf(owner) return string.match(owner, '^(.*):') end
local function leave(id, owner)
  local broker = brokerOf(owner)
  redis.call('HDEL', p .. 'at:' .. broker, id)
  redis.call('HDEL', p .. 'wills:' .. broker, id)
end
-- Of what is shown of a session. A token is never decoded here: what is JSON to its issuer may be none to Lua.
local function keyOf(json)
  local one = cjson.decode(json)
  return one.clientId .. ' ' .. one.issuer
end
local function forget(id)
  local key = redis.call('HGET', p .. 'kept-of', id)
  redis.call('HDEL', p .. 'kept', id)
  redis.call('HDEL', p .. 'kept-of', id)
  if redis.call('HINCRBY', p .. 'sessions', key, -1) <= 0 then redis.call('HDEL', p .. 'sessions', key) end
  redis.call('HDEL', p .. 'queued', id)
  redis.call('DEL', p .. 'subs:' .. id, p .. 'queue:' .. id, p .. 'sent:' .. id, p .. 'in:' .. id)
  say('f', cjson.encode({ id }))
end
`;

/** Refused as a whole when Redis has no memory left: without the first line it would end in the middle. */
const script = (lua: string): Script => ({ numberOfKeys: 1, lua: `#!lua\n${prelude}${lua}` });

/** Of what takes less than it gives back. */
const freeing = (lua: string): Script => ({
  numberOfKeys: 1,
  lua: `#!lua flags=allow-oom\n${prelude}${lua}`,
});

/**
 * Publishes a message: queues it for sessions that are kept, retains it, and sends it to all brokers.
 *
 * ARGV: number of the last change of filters that the broker knows of · topic · QoS · `set`, `clear` or empty for what
 * is retained · owner of that, its limits of messages, bytes, and of all · client id and connection of the publisher,
 * of a will the connection alone · packet identifier, of QoS 2 · limits of messages and bytes of a queue · the message ·
 * dead broker, of a will that one left: then the client id is its owner's · client ids.
 * Answers with its number, or a word why not; then the client ids whose queue is full.
 */
const publishMessage = script(`
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
    local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
    if not first or (redis.call('XLEN', log) >= ${MAX_CHANGES} and applied < tonumber(string.match(first[1], '^%d+'))) then
      return { 'stale' }
    end
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

/**
 * Gives a connection its session, whoever had it before; from now on what that one does is refused.
 *
 * ARGV: client id · connection · client and issuer · `1` for a clean session · token · will, or empty · what is shown
 * of it · sessions that one client may keep. Answers `ok`, the number that all older messages are at or below, and pairs of packet identifiers and numbers
 * under way; or a word why not.
 */
const claimSession = script(`
local id, owner, key, clean, token, will, info, most = unpack(ARGV)
local broker = brokerOf(owner)
if not redis.call('ZSCORE', p .. 'brokers', broker) then return { 'unknown' } end
local kept = redis.call('HGET', p .. 'kept', id)
local before = redis.call('HGET', p .. 'live', id)
if kept and redis.call('HGET', p .. 'kept-of', id) ~= key then return { 'mismatch' } end
if not kept and clean ~= '1' and tonumber(redis.call('HGET', p .. 'sessions', key) or '0') >= tonumber(most) then
  return { 'too_many_sessions' }
end
if before then
  local shown = redis.call('HGET', p .. 'at:' .. brokerOf(before), id)
  if shown and keyOf(shown) ~= key then return { 'mismatch' } end
  leave(id, before)
end
redis.call('HSET', p .. 'live', id, owner)
redis.call('HSET', p .. 'at:' .. broker, id, info)
if will ~= '' then redis.call('HSET', p .. 'wills:' .. broker, id, will) end
if clean == '1' then
  if kept then forget(id) else redis.call('DEL', p .. 'in:' .. id) end
else
  if not kept then
    redis.call('DEL', p .. 'in:' .. id)
    redis.call('HINCRBY', p .. 'sessions', key, 1)
  end
  redis.call('HSET', p .. 'kept', id, token)
  redis.call('HSET', p .. 'kept-of', id, key)
  say('k', cjson.encode({ id, token }))
end
local seq = say('t', cjson.encode({ id, owner }))
local answer = { 'ok', text(seq) }
for _, value in ipairs(redis.call('HGETALL', p .. 'sent:' .. id)) do answer[#answer + 1] = value end
return answer
`);

/** Ends a connection's hold of its session. ARGV: client id · connection · `1` for a clean session. */
const releaseSession = freeing(`
local id, owner, clean = unpack(ARGV)
if not owns(id, owner) then return 0 end
redis.call('HDEL', p .. 'live', id)
leave(id, owner)
if clean == '1' then redis.call('DEL', p .. 'in:' .. id) end
return 1
`);

/** Another token of a session. ARGV: client id · connection · `1` when it is kept · token · what is shown of it. */
const keepToken = script(`
local id, owner, kept, token, info = unpack(ARGV)
if not owns(id, owner) then return 0 end
redis.call('HSET', p .. 'at:' .. brokerOf(owner), id, info)
if kept == '1' then
  redis.call('HSET', p .. 'kept', id, token)
  say('k', cjson.encode({ id, token }))
end
return 1
`);

/**
 * Filters of a session that is kept. ARGV: client id · connection · filters, each with its QoS behind it. Answers with the
 * number on the bus, or 1 when none is new.
 */
const addFilters = script(`
local id, owner = ARGV[1], ARGV[2]
if not owns(id, owner) or redis.call('HEXISTS', p .. 'kept', id) == 0 then return 0 end
local subs, new = p .. 'subs:' .. id, {}
for i = 3, #ARGV, 2 do
  if redis.call('HGET', subs, ARGV[i]) ~= ARGV[i + 1] then
    redis.call('HSET', subs, ARGV[i], ARGV[i + 1])
    new[#new + 1] = { ARGV[i], tonumber(ARGV[i + 1]) }
  end
end
if #new == 0 then return 1 end
local seq = say('s', cjson.encode({ id, new }))
for at, change in ipairs(new) do
  if change[2] > 0 then
    redis.call('XADD', p .. 'changes', 'MAXLEN', '~', ${MAX_CHANGES}, text(seq) .. '-' .. at, 'i', id, 'f', change[1])
    redis.call('SET', p .. 'changed', text(seq))
  end
end
return text(seq)
`);

/** ARGV: client id · connection · filters. */
const removeFilters = freeing(`
local id, owner = ARGV[1], ARGV[2]
if not owns(id, owner) then return 0 end
local gone = {}
for i = 3, #ARGV do
  if redis.call('HDEL', p .. 'subs:' .. id, ARGV[i]) == 1 then gone[#gone + 1] = { ARGV[i], -1 } end
end
if #gone > 0 then say('s', cjson.encode({ id, gone })) end
return 1
`);

/** Messages are about to be sent. ARGV: client id · connection · packet identifiers, each with the number behind it. */
const noteSent = script(`
if not owns(ARGV[1], ARGV[2]) then return 0 end
redis.call('HSET', p .. 'sent:' .. ARGV[1], unpack(ARGV, 3))
return 1
`);

/** A QoS 2 message was received, and its PUBREL is due. ARGV: client id · connection · packet identifier. */
const noteReceived = script(`
if not owns(ARGV[1], ARGV[2]) then return 0 end
local sent = p .. 'sent:' .. ARGV[1]
local seq = redis.call('HGET', sent, ARGV[3])
if seq and string.sub(seq, 1, 1) ~= 'r' then
  redis.call('HSET', sent, ARGV[3], 'r' .. seq)
  drop(ARGV[1], seq)
end
return 1
`);

/** A message is done with. ARGV: client id · connection · packet identifier. */
const acknowledge = freeing(`
if not owns(ARGV[1], ARGV[2]) then return 0 end
local sent = p .. 'sent:' .. ARGV[1]
local seq = redis.call('HGET', sent, ARGV[3])
if not seq then return 0 end
redis.call('HDEL', sent, ARGV[3])
if string.sub(seq, 1, 1) ~= 'r' then drop(ARGV[1], seq) end
return 1
`);

/** A message that its session may not receive leaves the queue. ARGV: client id · connection · number. */
const refuseQueued = freeing(`
if owns(ARGV[1], ARGV[2]) then drop(ARGV[1], ARGV[3]) end
return 1
`);

/** A QoS 2 message was released by its publisher. ARGV: client id · connection · packet identifier. */
const noteReleased = freeing(`
if not owns(ARGV[1], ARGV[2]) then return 0 end
redis.call('SREM', p .. 'in:' .. ARGV[1], ARGV[3])
return 1
`);

/**
 * A broker lives. ARGV: broker · `1` when it begins · seconds after which a silent one is taken for dead. Answers 0 when
 * this one was, then with those that are.
 */
const beat = freeing(`
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local known = redis.call('ZSCORE', p .. 'brokers', ARGV[1])
if not known and ARGV[2] ~= '1' then return { '0' } end
redis.call('ZADD', p .. 'brokers', text(now * 1000), ARGV[1])
local answer = { '1' }
local dead = redis.call('ZRANGEBYSCORE', p .. 'brokers', '-inf', text((now - tonumber(ARGV[3])) * 1000))
for _, broker in ipairs(dead) do answer[#answer + 1] = broker end
return answer
`);

/**
 * Takes the place of a broker that is dead: it can claim nothing any more, and its sessions are live no more. ARGV: dead
 * broker · the one that publishes its wills · seconds after which another may. Answers with client ids and wills, or
 * with nothing when another is at it.
 */
const bury = freeing(`
local dead = ARGV[1]
if not redis.call('SET', p .. 'burying:' .. dead, ARGV[2], 'NX', 'EX', ARGV[3]) then return {} end
for _, id in ipairs(redis.call('HKEYS', p .. 'at:' .. dead)) do
  local owner = redis.call('HGET', p .. 'live', id)
  if owner and brokerOf(owner) == dead then
    redis.call('HDEL', p .. 'live', id)
    if redis.call('HEXISTS', p .. 'kept', id) == 0 then redis.call('DEL', p .. 'in:' .. id) end
  end
end
redis.call('DEL', p .. 'at:' .. dead)
local wills = redis.call('HGETALL', p .. 'wills:' .. dead)
if #wills == 0 then
  redis.call('ZREM', p .. 'brokers', dead)
  redis.call('DEL', p .. 'wills:' .. dead, p .. 'burying:' .. dead)
end
return wills
`);

/** Its wills are published, or it ended in good order. ARGV: broker. */
const buried = freeing(`
for _, id in ipairs(redis.call('HKEYS', p .. 'at:' .. ARGV[1])) do
  local owner = redis.call('HGET', p .. 'live', id)
  if owner and brokerOf(owner) == ARGV[1] then redis.call('HDEL', p .. 'live', id) end
end
redis.call('ZREM', p .. 'brokers', ARGV[1])
redis.call('DEL', p .. 'at:' .. ARGV[1], p .. 'wills:' .. ARGV[1], p .. 'burying:' .. ARGV[1])
return 1
`);

/** Ends a session from outside. ARGV: client id · `1` to forget what is kept of it too. Answers 1 when there was one. */
const cutSession = freeing(`
local id = ARGV[1]
local live, kept = redis.call('HGET', p .. 'live', id), redis.call('HGET', p .. 'kept', id)
if live then say('c', cjson.encode({ id, live, 'session_cut' })) end
if ARGV[2] == '1' and kept then
  if live then
    redis.call('HDEL', p .. 'live', id)
    leave(id, live)
  end
  forget(id)
end
return (live or (kept and ARGV[2] == '1')) and 1 or 0
`);

export const scripts = Object.freeze({
  publishMessage,
  claimSession,
  releaseSession,
  keepToken,
  addFilters,
  removeFilters,
  noteSent,
  noteReceived,
  acknowledge,
  refuseQueued,
  noteReleased,
  beat,
  bury,
  buried,
  cutSession,
});
