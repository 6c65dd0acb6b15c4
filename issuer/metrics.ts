import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { KeyView } from './keys/key-administration.ts';
import type { IssuerObserver, IssuerState, ObservedAct } from './observer.ts';

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
    help: 'Requests of clients by what they ask for and result: ok, or the reason code',
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
    help: 'Requests over HTTP that were refused, by listener, status and reason code',
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

/** The metrics that are read when they are asked for. */
function readState(registers: Registry[], state: () => IssuerState | undefined): void {
  const ready = new Gauge({
    name: 'fleetgate_registry_ready',
    help: 'Whether the registry can be read and written: 1 or 0',
    registers,
    async collect() {
      ready.set((await state()?.isReady()) === true ? 1 : 0);
    },
  });
  // Where the registry does not answer the last figures stay: the gauge above says so.
  const seconds = async (ofKey: (key: KeyView, nowMs: number) => number | undefined, to: Gauge) => {
    const keys = await state()
      ?.signingKeys()
      .catch(() => []);
    for (const key of keys ?? []) {
      const ms = ofKey(key, state()?.now() ?? 0);
      if (ms !== undefined) to.set(ms / 1000);
    }
  };
  const age: Gauge = new Gauge({
    name: 'fleetgate_signing_key_age_seconds',
    help: 'Time for which the active signing key has signed',
    registers,
    collect: () =>
      seconds(
        (key, nowMs) => (key.state === 'active' ? nowMs - (key.activatedAtMs ?? nowMs) : undefined),
        age,
      ),
  });
  const rotation: Gauge = new Gauge({
    name: 'fleetgate_signing_key_rotation_seconds',
    help: 'Time until the next signing key takes over; below zero when it should have',
    registers,
    collect: () => seconds(({ activatesAtMs }, nowMs) => activatesAtMs && activatesAtMs - nowMs, rotation),
  });
}
