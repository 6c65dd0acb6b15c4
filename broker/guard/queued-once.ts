import type { Guard } from './guard.ts';

/**
 * A message that several filters of an offline session match is queued for it once. The host queues it once for each
 * filter, sends every copy, and cannot tell their acknowledgements apart: some stay in the queue and are sent again. Of
 * a connected session each filter has its own listener, and each of these takes one copy out.
 */
export const queuedOnce: Guard = {
  name: 'a message is queued once for a session that is offline',
  install({ broker: { persistence }, sessions }) {
    const enqueue = persistence.outgoingEnqueueCombi;
    const isConnected = (clientId: string) =>
      sessions.live.get(clientId)?.client.closed === false || sessions.entering.has(clientId);

    persistence.outgoingEnqueueCombi = (subscriptions, packet) => {
      if (subscriptions.length < 2) return enqueue.call(persistence, subscriptions, packet);
      const queued = new Set<string>();
      const once = subscriptions.filter(({ clientId }) => {
        if (queued.has(clientId)) return isConnected(clientId);
        queued.add(clientId);
        return true;
      });
      return enqueue.call(persistence, once, packet);
    };
    return undefined;
  },
};
