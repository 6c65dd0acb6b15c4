import type { Cluster } from './cluster/cluster.ts';
import type { Core } from './core.ts';
import type { BrokerState } from './observer.ts';
import { type Protocol, protocols } from './protocol.ts';

/** What an observer may read of a plugin. */
export function brokerState(
  { sessions, feeds, settings, tokenStats }: Core,
  cluster: Pick<Cluster, 'isUp' | 'losses'> | undefined,
): BrokerState {
  return Object.freeze({
    connections() {
      const counts = new Map<Protocol, number>(protocols.map((protocol) => [protocol, 0]));
      for (const { protocol } of sessions.open) counts.set(protocol, (counts.get(protocol) ?? 0) + 1);
      return counts;
    },
    *secondsToExpiry() {
      const nowSeconds = settings.now() / 1000;
      for (const { token } of sessions.live.values()) yield token.expiresAtSeconds - nowSeconds;
    },
    *revocationFeeds() {
      for (const { issuer, isAway } of feeds.values()) yield { issuer, isAway: isAway() };
    },
    tokens: () => tokenStats?.(),
    cluster: () => cluster && { isAway: !cluster.isUp, losses: cluster.losses },
  });
}
