import { SESSION_TOPIC } from '@fleetgate/shared';
import type { Core } from './core.ts';
import type { Session } from './session.ts';

/**
 * Ends what a session subscribed to and its grants no longer cover, live and stored. Messages that wait for it are
 * judged when they are delivered.
 */
export function narrow(core: Core, session: Session): void {
  const { client, filters } = session;
  const ended: string[] = [];
  for (const filter of filters) {
    if (filter === SESSION_TOPIC) continue;
    const qos = client.subscriptions[filter]?.qos ?? 0;
    const decision = core.rule(client, { action: 'subscribe', filter, qos });
    if (decision.allowed) continue;
    ended.push(filter);
    core.reportOf(client, { action: 'subscribe', reason: decision.reason, topic: filter });
  }
  if (ended.length === 0) return;
  for (const filter of ended) filters.delete(filter);
  // Without a packet identifier the host sends no UNSUBACK and leaves the store alone.
  client.unsubscribe({ unsubscriptions: ended } as never, () => {});
  if (!client.clean) {
    core.guardContext?.broker.persistence.removeSubscriptions(client, ended).catch(core.onError);
  }
}
