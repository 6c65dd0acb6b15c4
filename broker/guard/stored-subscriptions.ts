import type { Subscription } from 'aedes';
import type { Guard } from './guard.ts';

/**
 * Of a SUBSCRIBE on a persistent session only what is allowed is stored, once. The host stores the whole list, refused
 * filters too, and does so again for each allowed one: a long list stops the broker for seconds.
 */
export const storedSubscriptions: Guard = {
  name: 'a refused filter leaves nothing in the stored session',
  install({ broker: { persistence }, judgeSubscription, sessions }) {
    const { addSubscriptions: store, removeSubscriptions: remove } = persistence;
    // Called when the UNSUBSCRIBE is read; the host tells of it later, when the filter may have been taken again.
    persistence.removeSubscriptions = (client, filters) => {
      const granted = sessions.byClient.get(client)?.filters;
      for (const filter of filters) granted?.delete(filter);
      return remove.call(persistence, client, filters);
    };
    // The host's calls for one packet come in one go, with one array; so the last one of each client is enough.
    const last = new WeakMap<object, { list: readonly Subscription[]; stored: Promise<void> }>();
    persistence.addSubscriptions = (client, list) => {
      const known = last.get(client);
      if (known?.list === list) return known.stored;
      // The last of the same name counts.
      const granted = new Map<string, Subscription>();
      for (const subscription of list) {
        if (judgeSubscription(client, subscription).allowed) granted.set(subscription.topic, subscription);
      }
      const stored = store.call(persistence, client, [...granted.values()]);
      last.set(client, { list, stored });
      queueMicrotask(() => last.delete(client));
      return stored;
    };
    return undefined;
  },
};
