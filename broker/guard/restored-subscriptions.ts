import type { Subscription } from 'aedes';
import type { Guard } from './guard.ts';

/**
 * Stored subscriptions are judged again when a session is taken up: grants may be narrower than when they were made.
 * What is refused is removed from the store before the host sees it. To the host's own question at that point there is
 * no good answer: an error locks the device out, and a refusal leaves the subscription stored.
 */
export const restoredSubscriptions: Guard = {
  name: 'a stored subscription outside the grants is removed',
  install({ broker: { persistence }, sessions, judgeSubscription, report }) {
    const load = persistence.subscriptionsByClient;
    persistence.subscriptionsByClient = async (client) => {
      const subscriptions = await load.call(persistence, client);
      const session = sessions.entering.get(client.id);
      if (session === undefined) return subscriptions;
      const { principal, connection } = session;
      const kept: Subscription[] = [];
      const removed: string[] = [];
      for (const subscription of subscriptions) {
        const decision = judgeSubscription(session.client, subscription);
        if (decision.allowed) {
          kept.push(subscription);
          continue;
        }
        removed.push(subscription.topic);
        const { clientId } = principal;
        const { address } = connection;
        report({
          action: 'subscribe',
          reason: decision.reason,
          clientId,
          address,
          topic: subscription.topic,
        });
      }
      if (removed.length > 0) await persistence.removeSubscriptions(session.client, removed);
      return kept;
    };
    return undefined;
  },
};
