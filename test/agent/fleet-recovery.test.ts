import { type Credentials, FleetgateError, SESSION_TOPIC } from '@fleetgate/shared';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createBrokerSession } from '../../agent/broker-session.ts';
import type { Connection, OpenOutcome } from '../../agent/connection.ts';
import { createOutbox } from '../../agent/outbox.ts';
import { keepSession } from '../../agent/session.ts';
import { createSubscriptions } from '../../agent/subscriptions.ts';
import { createTokenSource } from '../../agent/token-source.ts';

// Sockets are not the point here, time is: the sessions of a fleet on a clock the test moves, without a network below.

const DEVICES = 1000;
const LIFETIME_SECONDS = 900;
const MINUTE_MS = 60_000;

/** An issuer and a broker that are there or not, and all that came to them, by second. */
class Site {
  isUp = true;
  readonly tokenRequests = new Map<number, number>();
  readonly connects = new Map<number, number>();
  readonly connected = new Set<string>();
  readonly #cuts = new Set<() => void>();
  #tokens = 0;

  requestToken = async () => {
    count(this.tokenRequests);
    if (!this.isUp) throw new FleetgateError('token_request_failed', 'away');
    this.#tokens += 1;
    return {
      access_token: `token-${this.#tokens}`,
      token_type: 'Bearer',
      expires_in: LIFETIME_SECONDS,
    } as const;
  };

  connection(id: string, take: (event: object) => void): Connection {
    return {
      open: async (): Promise<OpenOutcome> => {
        count(this.connects);
        if (!this.isUp) return { kind: 'unreachable', reason: 'away' };
        const { promise: closed, resolve } = Promise.withResolvers<string>();
        this.connected.add(id);
        this.#cuts.add(() => resolve('cut'));
        return { kind: 'open', sessionPresent: true, closed };
      },
      publish: async () => undefined,
      publishOnce: async () => void queueMicrotask(() => take({ ...session, event: 'renewed' })),
      subscribe: async () => {
        queueMicrotask(() => take({ ...session, event: 'session' }));
        return 1;
      },
      unsubscribe: async () => undefined,
      close: async () => undefined,
    };
  }

  goDown(): void {
    this.isUp = false;
    this.connected.clear();
    for (const cut of this.#cuts) cut();
    this.#cuts.clear();
  }
}

const session = { expires_at: 1, grants: { publish: ['#'], subscribe: ['#'] } };

function count(bySecond: Map<number, number>): void {
  const second = Math.floor(performance.now() / 1000);
  bySecond.set(second, (bySecond.get(second) ?? 0) + 1);
}

function startSession(site: Site, id: string, signal: AbortSignal): void {
  const credentials: Credentials = {
    version: 1,
    client_id: id,
    issuer: 'https://issuer.example',
    auth: { method: 'client_secret_basic', client_secret: 'unused' },
  };
  const brokerSession = createBrokerSession();
  const connection = site.connection(id, (event) => {
    brokerSession.take({
      topic: SESSION_TOPIC,
      payload: Buffer.from(JSON.stringify(event)),
      qos: 1,
      retain: false,
    });
  });
  void keepSession({
    connection,
    brokerSession,
    tokens: createTokenSource(credentials, { transport: site.requestToken, signal }),
    outbox: createOutbox({ maxMessages: 1, maxBytes: 1, whenFull: 'newest', maxInFlight: 1 }),
    subscriptions: createSubscriptions({ onLost() {}, onHandlerFailed() {}, onUnhandled() {} }),
    emit() {},
    enter() {},
    drainTimeoutMs: 0,
    random: Math.random,
    signal,
  });
}

/** The most in one second, from `fromMs` on. */
function peak(bySecond: ReadonlyMap<number, number>, fromMs: number): number {
  return Math.max(
    0,
    ...[...bySecond].filter(([second]) => second >= fromMs / 1000).map(([, times]) => times),
  );
}

// The promise: while and after an outage a device asks for a token twice a minute on average, which is what an issuer
// has to be sized for; no second has more than twice that; a minute after the return all are back.
test('1,000 agents after ten minutes without issuer and broker: no peak, and all back within a minute', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const stopping = new AbortController();
  onTestFinished(() => stopping.abort());
  const budget = DEVICES / 30;
  const site = new Site();
  // Switched on in the course of a lifetime, as in a fleet that has been running.
  for (let device = 0; device < DEVICES; device += 1) {
    setTimeout(
      () => startSession(site, `d${device}`, stopping.signal),
      Math.random() * LIFETIME_SECONDS * 1000,
    );
  }
  await vi.advanceTimersByTimeAsync(30 * MINUTE_MS);
  expect(site.connected.size).toBe(DEVICES);

  const downAtMs = performance.now();
  site.goDown();
  await vi.advanceTimersByTimeAsync(10 * MINUTE_MS);
  expect(site.connected.size).toBe(0);
  const upAtMs = performance.now();
  site.isUp = true;
  await vi.advanceTimersByTimeAsync(MINUTE_MS);
  expect(site.connected.size).toBe(DEVICES);
  expect(peak(site.tokenRequests, downAtMs)).toBeLessThan(2 * budget);
  expect(peak(site.connects, upAtMs)).toBeLessThan(2 * budget);
});
