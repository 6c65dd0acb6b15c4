import type { Guard } from './guard.ts';

/**
 * How much longer than the limit the queue of a connected client may grow: a burst runs ahead of its
 * acknowledgements, and a message cannot be left out of the queue of a client it is being sent to. Beyond it the
 * client does not acknowledge, and is closed.
 */
const CONNECTED_FACTOR = 10;

/**
 * Messages waiting for one persistent session are bounded: for one that is offline newer ones are dropped, one that
 * is connected and does not acknowledge is closed. Counted here, from zero when the broker starts: what a persistence
 * brings along from before is not counted.
 */
export const queueBound: Guard = {
  name: 'the queue of a session is bounded',
  install({ broker: { persistence }, limits, report, sessions }) {
    const counts = new Map<string, number>();
    const { outgoingEnqueue, outgoingEnqueueCombi, outgoingClearMessageId } = persistence;
    const max = limits.maxQueuedMessagesPerClient;

    function hasRoom(clientId: string): boolean {
      const count = counts.get(clientId) ?? 0;
      const session = count < max ? undefined : sessions.live.get(clientId);
      const isConnected = session !== undefined && !session.client.closed;
      if (count >= max && !(isConnected && count < max * CONNECTED_FACTOR)) {
        if (isConnected) {
          const { principal, connection, client } = session;
          const { address } = connection;
          report({ action: 'session', reason: 'queue_full', clientId: principal.clientId, address });
          client.close();
        } else {
          report({ action: 'receive', reason: 'queue_full', clientId });
        }
        return false;
      }
      counts.set(clientId, count + 1);
      return true;
    }

    persistence.outgoingEnqueueCombi = (subscriptions, packet) => {
      const roomy = subscriptions.filter(({ clientId }) => hasRoom(clientId));
      return outgoingEnqueueCombi.call(persistence, roomy, packet);
    };
    persistence.outgoingEnqueue = async (subscription, packet) => {
      if (hasRoom(subscription.clientId)) await outgoingEnqueue.call(persistence, subscription, packet);
    };
    persistence.outgoingClearMessageId = async (client, packet) => {
      const cleared = await outgoingClearMessageId.call(persistence, client, packet);
      if (cleared !== undefined && cleared !== null) {
        const count = (counts.get(client.id) ?? 0) - 1;
        if (count > 0) counts.set(client.id, count);
        else counts.delete(client.id);
      }
      return cleared;
    };
  },
};
