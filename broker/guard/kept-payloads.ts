import type { AedesPublishPacket } from 'aedes';
import type { Guard } from './guard.ts';

/** Memory a kept message may hold beyond its own: most come alone in what was read, and are not worth a copy. */
const SLACK_BYTES = 1_024;

/**
 * A message that is kept holds its own bytes and no others. The host's parser gives a view of what was read from the
 * socket at once, up to 64 KiB: one byte of it that is retained or queued keeps all of that, and no limit counts it.
 */
export const keptPayloads: Guard = {
  name: 'a message that is kept keeps nothing else in memory',
  install({ broker: { persistence } }) {
    const { outgoingEnqueue, outgoingEnqueueCombi, storeRetained } = persistence;
    persistence.storeRetained = (packet) => storeRetained.call(persistence, withOwnPayload(packet));
    persistence.outgoingEnqueue = (subscription, packet) =>
      outgoingEnqueue.call(persistence, subscription, withOwnPayload(packet));
    persistence.outgoingEnqueueCombi = (subscriptions, packet) =>
      outgoingEnqueueCombi.call(
        persistence,
        subscriptions,
        subscriptions.length === 0 ? packet : withOwnPayload(packet),
      );
    return undefined;
  },
};

/** The packet itself, so that one that is kept several times is copied once. */
function withOwnPayload(packet: AedesPublishPacket): AedesPublishPacket {
  const { payload } = packet;
  if (typeof payload === 'string' || payload.buffer.byteLength - payload.length <= SLACK_BYTES) return packet;
  // Not `Buffer.from`: that is a view too, of a pool.
  const own = Buffer.allocUnsafeSlow(payload.length);
  payload.copy(own);
  packet.payload = own;
  return packet;
}
