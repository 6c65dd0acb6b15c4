/**
 * A day of refreshes in a process of its own, run with `--expose-gc`: its timers and its clock are simulated, so that
 * the day takes seconds. Prints what was seen as JSON.
 */
import { setImmediate } from 'node:timers/promises';
import { FleetgateError } from '@fleetgate/shared';
import { keepTokenFresh } from '../../agent/token-renewal.ts';
import { createTokenSource } from '../../agent/token-source.ts';

export interface SimulatedDay {
  requests: number;
  failures: number;
  refreshes: number;
  mostInFlight: number;
  /** Times at which whoever asked had no valid token. */
  missed: number;
  heapBeforeBytes: number;
  heapAfterBytes: number;
}

const LIFETIME_SECONDS = 60;
const HOUR_MS = 3_600_000;
/** One request in this many fails: retries are part of a day. */
const FAILURE_EVERY = 10;
const ANSWER_MS = 50;

let nowMs = 0;
const timers = new Map<object, { atMs: number; act: () => void }>();
Object.assign(globalThis, {
  setTimeout(act: () => void, ms = 0) {
    const timer = {};
    timers.set(timer, { atMs: nowMs + ms, act });
    return timer;
  },
  clearTimeout: (timer: object) => timers.delete(timer),
});

const day: SimulatedDay = {
  requests: 0,
  failures: 0,
  refreshes: 0,
  mostInFlight: 0,
  missed: 0,
  heapBeforeBytes: 0,
  heapAfterBytes: 0,
};
let inFlight = 0;
const stopping = new AbortController();
const source = createTokenSource(
  {
    version: 1,
    client_id: 'd1',
    issuer: 'https://issuer.example',
    auth: { method: 'client_secret_basic', client_secret: 'unused' },
  },
  {
    now: () => nowMs,
    signal: stopping.signal,
    async transport() {
      day.requests += 1;
      inFlight += 1;
      day.mostInFlight = Math.max(day.mostInFlight, inFlight);
      await new Promise<void>((answered) => setTimeout(answered, ANSWER_MS));
      inFlight -= 1;
      if (day.requests % FAILURE_EVERY === 0) {
        day.failures += 1;
        throw new FleetgateError('token_request_failed', 'the issuer is away');
      }
      return { access_token: `token-${day.requests}`, token_type: 'Bearer', expires_in: LIFETIME_SECONDS };
    },
  },
);

async function runUntil(endMs: number): Promise<void> {
  for (;;) {
    // Signals and promises settle, and the collector's own callbacks run, as between the turns of a real loop.
    await setImmediate();
    let next: [object, { atMs: number; act: () => void }] | undefined;
    for (const timer of timers) if (next === undefined || timer[1].atMs < next[1].atMs) next = timer;
    if (next === undefined || next[1].atMs > endMs) break;
    timers.delete(next[0]);
    nowMs = next[1].atMs;
    next[1].act();
    await askFromMany();
  }
  nowMs = endMs;
}

// From the first token on nobody may be without one.
async function askFromMany(): Promise<void> {
  if (day.refreshes === 0) return;
  const asked = await Promise.allSettled(Array.from({ length: 10 }, () => source.get()));
  if (asked.some((one) => one.status === 'rejected' || one.value.expiresAtMs <= nowMs)) day.missed += 1;
}

async function heapBytes(): Promise<number> {
  for (let round = 0; round < 5; round += 1) {
    globalThis.gc?.();
    await setImmediate();
  }
  return process.memoryUsage().heapUsed;
}

const kept = keepTokenFresh(
  source,
  () => {
    day.refreshes += 1;
  },
  { signal: stopping.signal, now: () => nowMs, onFailure: () => undefined },
);
await runUntil(HOUR_MS);
day.heapBeforeBytes = await heapBytes();
await runUntil(24 * HOUR_MS);
day.heapAfterBytes = await heapBytes();
stopping.abort();
await kept;
process.stdout.write(JSON.stringify(day));
