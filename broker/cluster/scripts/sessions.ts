import { freeing, MAX_CHANGE_BYTES, MAX_CHANGES, script } from './script.ts';

/**
 * Gives a connection its session, whoever had it before; from now on what that one does is refused.
 *
 * ARGV: client id · connection · client and issuer · `1` for a clean session · token · will, or empty · what is shown
 * of it · sessions that one client may keep. Answers `ok`, the number that all older messages are at or below, and pairs of packet identifiers and numbers
 * under way; or a word why not.
 */
export const claimSession = script(`
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
export const releaseSession = freeing(`
local id, owner, clean = unpack(ARGV)
if not owns(id, owner) then return 0 end
redis.call('HDEL', p .. 'live', id)
leave(id, owner)
if clean == '1' then redis.call('DEL', p .. 'in:' .. id) end
return 1
`);

/** Another token of a session. ARGV: client id · connection · `1` when it is kept · token · what is shown of it. */
export const keepToken = script(`
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
export const addFilters = script(`
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
local log, held = p .. 'changes', p .. 'changes-bytes'
-- Of a version that did not count them.
if redis.call('EXISTS', held) == 0 and redis.call('DEL', log) == 1 then
  redis.call('SET', p .. 'changes-gone', redis.call('GET', p .. 'changed'))
end
local bytes = 0
for at, change in ipairs(new) do
  if change[2] > 0 then
    redis.call('XADD', log, text(seq) .. '-' .. at, 'i', id, 'f', change[1])
    bytes = redis.call('INCRBY', held, #id + #change[1])
    redis.call('SET', p .. 'changed', text(seq))
  end
end
local many = redis.call('XLEN', log)
while many > ${MAX_CHANGES} or (many > 0 and bytes > ${MAX_CHANGE_BYTES}) do
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  many = many - redis.call('XDEL', log, oldest[1])
  bytes = redis.call('INCRBY', held, -(#oldest[2][2] + #oldest[2][4]))
  redis.call('SET', p .. 'changes-gone', string.match(oldest[1], '^%d+'))
end
-- What a broker of another version took out of it was not counted.
if many <= 0 then redis.call('DEL', log, held) end
return text(seq)
`);

/** ARGV: client id · connection · filters. Answers as `addFilters`, 1 when there was none of them. */
export const removeFilters = freeing(`
local id, owner = ARGV[1], ARGV[2]
if not owns(id, owner) then return 0 end
local gone = {}
for i = 3, #ARGV do
  if redis.call('HDEL', p .. 'subs:' .. id, ARGV[i]) == 1 then gone[#gone + 1] = { ARGV[i], -1 } end
end
if #gone == 0 then return 1 end
return text(say('s', cjson.encode({ id, gone })))
`);

/** Ends a session from outside. ARGV: client id · `1` to forget what is kept of it too. Answers 1 when there was one. */
export const cutSession = freeing(`
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
