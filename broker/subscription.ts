import { SESSION_TOPIC } from '@fleetgate/shared';
import { allowed, type Decision, decide, refused } from './authorization/decide.ts';
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

/**
 * Whether a message may be queued for a session. That its token has expired does not matter here: it is judged again
 * when it is delivered, by the token the client then has.
 */
export function mayReceive(
  { authority, sessions, onError }: Core,
  mqttClientId: string,
  topic: string,
): boolean {
  const live = sessions.live.get(mqttClientId);
  const token = live === undefined ? sessions.kept.get(mqttClientId) : live.token;
  if (token === undefined) return true;
  try {
    const attempt = { action: 'receive', topic } as const;
    return decide(live?.principal ?? authority.principalOf(token), attempt, Number.NEGATIVE_INFINITY).allowed;
  } catch (error) {
    onError(error);
    return false;
  }
}
