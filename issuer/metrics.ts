import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { AppFigures, IssuerObserver, IssuerState, ObservedAct } from './observer.ts';
import type { RegistryLoad } from './registry/registry.ts';

/** Bounds in seconds: a token takes a millisecond or two, most of it for the disk; many at once wait for one another. */
const REQUEST_BUCKETS = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

const acts: readonly ObservedAct[] = ['issue', 'introspect', 'revoke'];

/**
 * Counts in `register` for Prometheus; given to one issuer as its `observer`. docs/observability.md has the metrics.
 * Labels are values of closed sets: never a client or an address.
 */
export function prometheusObserver(register: Registry): IssuerObserver {
  const registers = [register];
  let watched: IssuerState | undefined;

  const requests = new Counter({
    name: 'fleetgate_token_requests_total',
    help: 'Requests of clients to the issuer, of all apps: issue, introspect, revoke by result: ok, or the reason, slow_down among them',
    labelNames: ['act', 'result'],
    registers,
  });
  const seconds = new Histogram({
    name: 'fleetgate_token_request_seconds',
    help: 'Time to serve a request of a client, refused ones too',
    labelNames: ['act'],
    buckets: REQUEST_BUCKETS,
    registers,
  });
  const refusals = new Counter({
    name: 'fleetgate_issuer_refusals_total',
    help: 'Requests over HTTP that the issuer refused, whatever they were for: listener is public or admin; and connections that were closed, with the status none and the reason connections_limited',
    labelNames: ['listener', 'status', 'reason'],
    registers,
  });
  readState(registers, () => watched);
  // From the start, so that the first of them is an increase.
  for (const act of acts) requests.inc({ act, result: 'ok' }, 0);
  refusals.inc({ listener: 'public', status: 401, reason: 'invalid_client' }, 0);
  for (const result of ['invalid_client', 'slow_down']) requests.inc({ act: 'issue', result }, 0);

  return Object.freeze<IssuerObserver>({
    watch(state) {
      if (watched !== undefined) throw new TypeError('this observer is of another issuer; make one for each');
      watched = state;
    },
    request(act, result, took) {
      requests.inc({ act, result });
      seconds.observe({ act }, took);
    },
    refused: (listener, status, reason) => refusals.inc({ listener, status, reason }),
  });
}

/** The metrics that are read when they are asked for: once for all of them. */
function readState(registers: Registry[], state: () => IssuerState | undefined): void {
  const read = together(async () => (await state()?.figures()) ?? []);
  const gauge = (
    name: string,
    help: string,
    set: (gauge: Gauge, apps: readonly AppFigures[], nowMs: number) => void,
    labelNames: string[] = [],
  ) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      async collect() {
        set(this, await read(), state()?.now() ?? 0);
      },
    });
  const counter = (name: string, help: string, total: (load: RegistryLoad) => number) => {
    let told = 0;
    return new Counter({
      name,
      help,
      registers,
      async collect() {
        const now = sum(await read(), ({ load }) => total(load));
        // Less than before when an app was deleted.
        this.inc(Math.max(0, now - told));
        told = now;
      },
    });
  };

  gauge(
    'fleetgate_registry_ready',
    '1 while the registry of the default app can be read and written, else 0',
    (to, [own]) => to.set(own?.isReady === true ? 1 : 0),
  );
  gauge(
    'fleetgate_apps',
    'Apps beside the default one: ready, or failing while their registry cannot be read or written',
    (to, [, ...apps]) => {
      const ready = apps.filter(({ isReady }) => isReady).length;
      to.set({ state: 'ready' }, ready);
      to.set({ state: 'failing' }, apps.length - ready);
    },
    ['state'],
  );
  gauge(
    'fleetgate_registry_waiting_acts',
    'Acts that wait for the next commit; beyond 20,000 in an app requests are refused',
    (to, apps) => to.set(sum(apps, ({ load }) => load.waitingActs)),
  );
  counter('fleetgate_registry_commits_total', 'Commits to the registry', ({ commits }) => commits);
  counter('fleetgate_registry_acts_total', 'Acts in the commits to the registry', ({ acts }) => acts);
  // Where a registry does not answer, the last figures stay: the first gauges say so.
  gauge('fleetgate_audit_rows', 'Rows of the audit trail', (to, apps) => {
    if (apps.every(({ counts }) => counts)) to.set(sum(apps, ({ counts }) => counts?.auditEvents ?? 0));
  });
  gauge(
    'fleetgate_clients_quarantined',
    'Clients in quarantine; in an app no more than 100,000 are counted',
    (to, apps) => {
      if (apps.every(({ counts }) => counts)) {
        to.set(sum(apps, ({ counts }) => counts?.quarantinedClients ?? 0));
      }
    },
  );
  gauge('fleetgate_revocation_feed_readers', 'Readers that follow GET /revocations', (to, apps) =>
    to.set(sum(apps, ({ feedReaders }) => feedReaders)),
  );
  gauge(
    'fleetgate_signing_key_age_seconds',
    'Time for which the active signing key has signed; of the app with the oldest',
    (to, apps, nowMs) => {
      const since = keysOf(apps).flatMap(({ state, activatedAtMs }) =>
        state === 'active' && activatedAtMs !== undefined ? [activatedAtMs] : [],
      );
      if (since.length > 0) to.set((nowMs - Math.min(...since)) / 1000);
    },
  );
  gauge(
    'fleetgate_signing_key_rotation_seconds',
    'Time until the next signing key takes over; below zero when it should have. Of the app that is the next',
    (to, apps, nowMs) => {
      const due = keysOf(apps).flatMap(({ activatesAtMs }) => activatesAtMs ?? []);
      if (due.length > 0) to.set((Math.min(...due) - nowMs) / 1000);
    },
  );
  gauge(
    'fleetgate_signing_key_next_published',
    '1 while each app has the signing key published that comes next, else 0',
    (to, apps) => {
      const isPublished = ({ keys }: AppFigures) => keys?.some(({ state }) => state === 'next') ?? true;
      to.set(apps.length > 0 && apps.every(isPublished) ? 1 : 0);
    },
  );
}

const sum = <One>(all: readonly One[], of: (one: One) => number) =>
  all.reduce((total, one) => total + of(one), 0);

const keysOf = (apps: readonly AppFigures[]) => apps.flatMap(({ keys }) => keys ?? []);

/** All who ask while it is being read get the same. */
function together<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined;
  return () => {
    reading ??= read().finally(() => {
      reading = undefined;
    });
    return reading;
  };
}
