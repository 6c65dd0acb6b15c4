import type { Registry } from 'prom-client';

interface Value {
  readonly value: number;
  readonly labels: Partial<Record<string, string | number>>;
}

/** What the page draws, of all that `/metrics` prints: totals and gauges by one name each. */
export async function readFigures(metrics: Registry): Promise<Record<string, number>> {
  const all = await metrics.getMetricsAsJSON();
  const values = new Map(all.map(({ name, values }) => [name, values as readonly Value[]]));
  const sum = (name: string, fits: (labels: Value['labels']) => boolean = () => true) =>
    (values.get(name) ?? []).reduce((total, { value, labels }) => (fits(labels) ? total + value : total), 0);
  const decisions = 'fleetgate_decisions_total';
  const isAllowed = ({ result }: Value['labels']) => result === 'allowed';
  const connectsRefused = sum(
    'fleetgate_connects_total',
    ({ result }) => result !== 'accepted' && result !== 'gone',
  );
  return {
    connections: sum('fleetgate_connections'),
    sessions: sum('fleetgate_sessions_expiring', ({ le }) => le === '+Inf'),
    connects_accepted: sum('fleetgate_connects_total', ({ result }) => result === 'accepted'),
    connects_refused: connectsRefused,
    tokens_issued: sum('fleetgate_token_requests_total', ({ result }) => result === 'issued'),
    tokens_refused: sum('fleetgate_token_requests_total', ({ result }) => result !== 'issued'),
    publishes_allowed: sum(decisions, (labels) => labels['action'] === 'publish' && isAllowed(labels)),
    deliveries_allowed: sum(decisions, (labels) => labels['action'] === 'receive' && isAllowed(labels)),
    refusals:
      connectsRefused + sum(decisions, (labels) => !isAllowed(labels) && labels['action'] !== 'receive'),
    feeds_away: sum('fleetgate_revocation_feed_away'),
    cluster_away: sum('fleetgate_cluster_away'),
    clients_quarantined: sum('fleetgate_clients_quarantined'),
  };
}
