import { freeing } from './script.ts';

/**
 * A broker lives. ARGV: broker · `1` when it begins · seconds after which a silent one is taken for dead. Answers 0 when
 * this one was, then with those that are.
 */
export const beat = freeing(`
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
export const bury = freeing(`
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
export const buried = freeing(`
for _, id in ipairs(redis.call('HKEYS', p .. 'at:' .. ARGV[1])) do
  local owner = redis.call('HGET', p .. 'live', id)
  if owner and brokerOf(owner) == ARGV[1] then redis.call('HDEL', p .. 'live', id) end
end
redis.call('ZREM', p .. 'brokers', ARGV[1])
redis.call('DEL', p .. 'at:' .. ARGV[1], p .. 'wills:' .. ARGV[1], p .. 'burying:' .. ARGV[1])
return 1
`);
