import { SESSION_TOPIC } from '@fleetgate/shared';
import { allowed, type Decision, refused } from './authorization/decide.ts';
import type { Core } from './core.ts';

/** The decision on one subscription of a client, its limit counted. Asking twice changes nothing. */
export function judgeSubscription(
  { rule, sessions, settings }: Core,
  client: object,
  { topic, qos }: { topic: string; qos: 0 | 1 | 2 },
): Decision {
  const filters = sessions.byClient.get(client)?.filters;
  const isOwn = topic === SESSION_TOPIC && filters !== undefined;
  const decision = isOwn ? allowed : rule(client, { action: 'subscribe', filter: topic, qos });
  if (!decision.allowed || filters === undefined || filters.has(topic)) return decision;
  if (filters.size >= settings.limits.maxSubscriptionsPerClient) return refused.too_many_subscriptions;
  filters.add(topic);
  return decision;
}
