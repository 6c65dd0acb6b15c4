/** What is done in Redis in one step. */
export interface Script {
  readonly numberOfKeys: 1;
  readonly lua: string;
}

/** Filters that were added lately and are remembered, for publishers that have not heard of them. */
export const MAX_CHANGES = 10_000;

/** Bytes of those filters and of their client ids: a filter may be of 65,535, and all of them belong to nobody's limits. */
export const MAX_CHANGE_BYTES = 8_388_608;

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
export const script = (lua: string): Script => ({ numberOfKeys: 1, lua: `#!lua\n${prelude}${lua}` });

/** Of what takes less than it gives back. */
export const freeing = (lua: string): Script => ({
  numberOfKeys: 1,
  lua: `#!lua flags=allow-oom\n${prelude}${lua}`,
});
