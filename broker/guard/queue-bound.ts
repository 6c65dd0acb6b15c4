import type { AedesPublishPacket } from 'aedes';
import type { Guard } from './guard.ts';

/**
 * How much longer than the limit the queue of a connected client may grow: a burst runs ahead of its
 * acknowledgements, and a message cannot be left out of the queue of a client it is being sent to. Beyond it the
 * client does not acknowledge, and is closed.
 */
const CONNECTED_FACTOR = 10;

/**
 * Messages waiting for one persistent session are bounded, by number and by bytes: for one that is offline newer ones
 * are dropped, one that is connected and does not acknowledge is closed. What it may not receive takes no room in it:
 * anybody who publishes could fill it otherwise. Counted here, from zero when the broker starts: what a persistence
 * brings along from before is not counted.
 */
export const queueBound: Guard = {
  name: 'the queue of a session is bounded',
  install({ broker: { persistence }, limits, mayReceive, report, sessions }) {
    const queues = new Map<string, { messages: number; bytes: number }>();
    const { outgoingEnqueue, outgoingEnqueueCombi, outgoingClearMessageId } = persistence;
    const { maxQueuedMessagesPerClient, maxQueuedBytesPerClient } = limits;

    function hasRoom(clientId: string, packet: AedesPublishPacket): boolean {
      if (!mayReceive(clientId, packet.topic)) return false;
      const queue = queues.get(clientId) ?? { messages: 0, bytes: 0 };
      const bytes = bytesOf(packet);
      const fits = (factor: number) =>
        queue.messages < maxQueuedMessagesPerClient * factor &&
        queue.bytes + bytes <= maxQueuedBytesPerClient * factor;
      if (!fits(1)) {
        const session = sessions.live.get(clientId);
        if (session === undefined || session.client.closed) {
          report({ action: 'receive', reason: 'queue_full', clientId });
          return false;
        }
        if (!fits(CONNECTED_FACTOR)) {
          const { principal, connection, client } = session;
          const { address } = connection;
          report({ action: 'session', reason: 'queue_full', clientId: principal.clientId, address });
          client.close();
          return false;
        }
      }
      queue.messages += 1;
      queue.bytes += bytes;
      queues.set(clientId, queue);
      return true;
    }

    persistence.outgoingEnqueueCombi = (subscriptions, packet) => {
      const roomy = subscriptions.filter(({ clientId }) => hasRoom(clientId, packet));
      return outgoingEnqueueCombi.call(persistence, roomy, packet);
    };
    persistence.outgoingEnqueue = async (subscription, packet) => {
      if (hasRoom(subscription.clientId, packet))
        await outgoingEnqueue.call(persistence, subscription, packet);
    };
    persistence.outgoingClearMessageId = async (client, packet) => {
      const cleared = await outgoingClearMessageId.call(persistence, client, packet);
      const queue = queues.get(client.id);
      if (cleared !== undefined && cleared !== null && queue !== undefined) {
        // Of QoS 2 what is cleared is the PUBREL, which does not say how large its message was: the mean stands for it.
        const isPubrel = (cleared as { cmd?: string }).cmd === 'pubrel';
        queue.bytes -= isPubrel ? queue.bytes / queue.messages : bytesOf(cleared as AedesPublishPacket);
        queue.messages -= 1;
        if (queue.messages <= 0) queues.delete(client.id);
      }
      return cleared;
    };
    return undefined;
  },
};

function bytesOf({ topic, payload }: { topic?: string; payload?: { length: number } | string }): number {
  return (topic?.length ?? 0) + (payload?.length ?? 0);
}
