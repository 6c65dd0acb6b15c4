import { freeing, script } from './script.ts';

/** Messages are about to be sent. ARGV: client id · connection · packet identifiers, each with the number behind it. */
export const noteSent = script(`
if not owns(ARGV[1], ARGV[2]) then return 0 end
redis.call('HSET', p .. 'sent:' .. ARGV[1], unpack(ARGV, 3))
return 1
`);

/** A QoS 2 message was received, and its PUBREL is due. ARGV: client id · connection · packet identifier. */
export const noteReceived = script(`
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
export const acknowledge = freeing(`
if not owns(ARGV[1], ARGV[2]) then return 0 end
local sent = p .. 'sent:' .. ARGV[1]
local seq = redis.call('HGET', sent, ARGV[3])
if not seq then return 0 end
redis.call('HDEL', sent, ARGV[3])
if string.sub(seq, 1, 1) ~= 'r' then drop(ARGV[1], seq) end
return 1
`);

/** A message that its session may not receive leaves the queue. ARGV: client id · connection · number. */
export const refuseQueued = freeing(`
if owns(ARGV[1], ARGV[2]) then drop(ARGV[1], ARGV[3]) end
return 1
`);

/** A QoS 2 message was released by its publisher. ARGV: client id · connection · packet identifier. */
export const noteReleased = freeing(`
if not owns(ARGV[1], ARGV[2]) then return 0 end
redis.call('SREM', p .. 'in:' .. ARGV[1], ARGV[3])
return 1
`);
