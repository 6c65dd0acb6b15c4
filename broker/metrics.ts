import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { BrokerState, DecidedAction, Observer } from './observer.ts';

/**
 * Bounds of token verification, in seconds: one from the cache takes some 10 µs, a signature 100 µs and more when many
 * wait, a fetch of keys up to 5 s.
 */
const VERIFY_BUCKETS = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1, 5];

/** Bounds of what is left of the sessions' tokens, in seconds. */
const EXPIRY_BOUNDS: readonly number[] = [60, 300, 900, 3_600, Number.POSITIVE_INFINITY];

/**
 * Counts in `register` for Prometheus; given to one plugin as its `observer`. docs/observability.md has the metrics.
 * Labels are values of closed sets and the issuers of the configuration: never a client, a topic or an address.
 *
 * ```ts
 * const register = new Registry();
 * const auth = fleetgate({ issuers, policy, observer: prometheusObserver(register) });
 * ```
 */
export function prometheusObserver(register: Registry): Observer {
  const registers = [register];
  let watched: BrokerState | undefined;

  const connects = new Counter({
    name: 'fleetgate_connects_total',
    help: 'CONNECTs by answer: accepted, the reason, or gone for a client that left before it was answered',
    labelNames: ['result'],
    registers,
  });
  const allowed = countAllowed();
  const decisions = new Counter({
    name: 'fleetgate_decisions_total',
    help: 'Decisions on publish, receive, subscribe and will by result, allowed or the reason; packet: one that broke the protocol',
    labelNames: ['action', 'result'],
    registers,
    collect: () => allowed.tell((action, count) => decisions.inc({ action, result: 'allowed' }, count)),
  });
  const verifications = new Histogram({
    name: 'fleetgate_token_verify_seconds',
    help: 'Time to verify a token at CONNECT or renewal, refused ones too',
    buckets: VERIFY_BUCKETS,
    registers,
  });
  const renewals = new Counter({
    name: 'fleetgate_renewals_total',
    help: 'Renewals in place by result: accepted, or the reason',
    labelNames: ['result'],
    registers,
  });
  const revocations = new Counter({
    name: 'fleetgate_revocations_total',
    help: 'Revocations taken in: token, client, issued_before, key, unknown',
    labelNames: ['kind'],
    registers,
  });
  const sessionsCut = new Counter({
    name: 'fleetgate_sessions_cut_total',
    help: 'Sessions ended by the broker, by reason',
    labelNames: ['reason'],
    registers,
  });
  const dropped = new Counter({
    name: 'fleetgate_messages_dropped_total',
    help: 'Messages given up though they were allowed: queue_full',
    labelNames: ['reason'],
    registers,
  });
  readState(registers, () => watched);
  // From the start, so that the first of them is an increase.
  connects.inc({ result: 'accepted' }, 0);
  renewals.inc({ result: 'accepted' }, 0);
  const cutReasons = [
    'session_expired',
    'token_revoked',
    'client_quarantined',
    'queue_full',
    'reads_too_slowly',
    'cluster_unavailable',
    'session_cut',
  ];
  for (const reason of cutReasons) sessionsCut.inc({ reason }, 0);
  for (const kind of ['token', 'client', 'issued_before', 'key']) revocations.inc({ kind }, 0);
  dropped.inc({ reason: 'queue_full' }, 0);

  return Object.freeze<Observer>({
    watch(state) {
      if (watched !== undefined) throw new TypeError('this observer is of another plugin; make one for each');
      watched = state;
    },
    connect: (result) => connects.inc({ result }),
    decision(action, result) {
      if (result === 'allowed') allowed.add(action);
      else decisions.inc({ action, result });
    },
    verification: (seconds) => verifications.observe(seconds),
    renewal: (result) => renewals.inc({ result }),
    revocation: (kind) => revocations.inc({ kind }),
    sessionCut: (reason) => sessionsCut.inc({ reason }),
    dropped: (reason) => dropped.inc({ reason }),
  });
}

const countedActions: readonly DecidedAction[] = ['publish', 'receive', 'will', 'subscribe'];

/** What is allowed is counted for each message: an addition, and told to Prometheus when that asks. */
function countAllowed() {
  const totals = new Float64Array(countedActions.length);
  const told = new Float64Array(countedActions.length);
  return {
    add(action: DecidedAction): void {
      const index = action === 'publish' ? 0 : action === 'receive' ? 1 : countedActions.indexOf(action);
      (totals[index] as number) += 1;
    },
    tell(inc: (action: DecidedAction, count: number) => void): void {
      for (const [index, action] of countedActions.entries()) {
        const total = totals[index] as number;
        inc(action, total - (told[index] as number));
        told[index] = total;
      }
    },
  };
}

/** The metrics that are read when they are asked for. */
function readState(registers: Registry[], state: () => BrokerState | undefined): void {
  const connections = new Gauge({
    name: 'fleetgate_connections',
    help: 'Open connections, with a session or not yet: mqtt, mqtts, ws, wss',
    labelNames: ['protocol'],
    registers,
    collect() {
      for (const [protocol, count] of state()?.connections() ?? []) connections.set({ protocol }, count);
    },
  });
  const expiring = new Gauge({
    name: 'fleetgate_sessions_expiring',
    help: 'Sessions whose token expires within 60, 300, 900 or 3600 seconds; +Inf is all of them',
    labelNames: ['le'],
    registers,
    collect() {
      const counts = expiringWithin(state()?.secondsToExpiry() ?? []);
      for (const [index, bound] of EXPIRY_BOUNDS.entries())
        expiring.set({ le: bound === Number.POSITIVE_INFINITY ? '+Inf' : String(bound) }, counts[index] ?? 0);
    },
  });
  const away = new Gauge({
    name: 'fleetgate_revocation_feed_away',
    help: '1 while the revocations of that issuer do not come in, else 0',
    labelNames: ['issuer'],
    registers,
    collect() {
      for (const { issuer, isAway } of state()?.revocationFeeds() ?? []) away.set({ issuer }, isAway ? 1 : 0);
    },
  });
  const clusterAway = new Gauge({
    name: 'fleetgate_cluster_away',
    help: '1 while the Redis that several brokers share does not answer, else 0',
    registers,
    collect() {
      clusterAway.set(state()?.cluster()?.isAway === true ? 1 : 0);
    },
  });
  const clusterLosses = new Counter({
    name: 'fleetgate_cluster_losses_total',
    help: 'Times the Redis that several brokers share was lost, and every session of this broker with it',
    registers,
    collect: () => lost(state()?.cluster()?.losses),
  });
  const lost = following((count) => clusterLosses.inc(count));
  const lookUps = new Counter({
    name: 'fleetgate_token_cache_total',
    help: 'Tokens looked up in the cache of verified ones: hit, miss',
    labelNames: ['result'],
    registers,
    collect() {
      const tokens = state()?.tokens();
      hits(tokens?.hits);
      misses(tokens?.misses);
    },
  });
  const hits = following((count) => lookUps.inc({ result: 'hit' }, count));
  const misses = following((count) => lookUps.inc({ result: 'miss' }, count));
  const cached = new Gauge({
    name: 'fleetgate_token_cache_entries',
    help: 'Verified tokens in the cache',
    registers,
    collect() {
      cached.set(state()?.tokens()?.size ?? 0);
    },
  });
  const fetches = new Counter({
    name: 'fleetgate_key_fetches_total',
    help: "Fetches of issuers' keys: ok, failed",
    labelNames: ['result'],
    registers,
    collect() {
      const tokens = state()?.tokens();
      fetched(tokens && tokens.keyFetches - tokens.keyFetchFailures);
      failed(tokens?.keyFetchFailures);
    },
  });
  const fetched = following((count) => fetches.inc({ result: 'ok' }, count));
  const failed = following((count) => fetches.inc({ result: 'failed' }, count));
}

/** How many of them are within each bound: each is counted by its first one, and the counts added up. */
function expiringWithin(secondsToExpiry: Iterable<number>): number[] {
  const counts = EXPIRY_BOUNDS.map(() => 0);
  for (const seconds of secondsToExpiry) {
    let index = 0;
    while (seconds > (EXPIRY_BOUNDS[index] as number)) index += 1;
    counts[index] = (counts[index] as number) + 1;
  }
  for (let index = 1; index < counts.length; index += 1) {
    counts[index] = (counts[index] as number) + (counts[index - 1] as number);
  }
  return counts;
}

/** Brings a counter up to a total that is counted elsewhere. */
function following(inc: (count: number) => void): (total: number | undefined) => void {
  let told = 0;
  return (total) => {
    if (total === undefined) return;
    inc(Math.max(0, total - told));
    told = total;
  };
}
