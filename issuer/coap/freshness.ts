import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { createReplayWindow, dropOldest, type ReplayWindow } from '@fleetgate/shared';

/** How long an Echo value counts: the round trips of a device on a slow network, retransmissions included. */
const ECHO_LIFETIME_MS = 60_000;
const ECHO_BYTES = 8;

/** Contexts whose window is remembered; one that was dropped is challenged again. */
const MAX_WINDOWS = 100_000;

/** Enough that few contexts share one: what makes an Echo of one void makes those of all in it so. */
const GENERATIONS = 65_536;

/** What is known of which requests are new. */
export interface Freshness {
  /** Unset after a start, until a request has come back with an Echo value. */
  windowOf(contextId: string): ReplayWindow | undefined;
  /** What the request is to come back with (RFC 9175 §2.3). */
  echoFor(contextId: string): Uint8Array;
  isEcho(contextId: string, value: Uint8Array): boolean;
  /** From here on the context has a window, which has taken this number. */
  begin(contextId: string, sequenceNumber: number): void;
}

/**
 * Windows are in memory alone: after a restart each context proves by an Echo that its next request is no replay (RFC
 * 8613, Appendix B.1.2). An Echo value is kept nowhere: it is made from the time, by a key of this process.
 */
export function trackFreshness(monotonicMs: () => number, { maxWindows = MAX_WINDOWS } = {}): Freshness {
  const key = randomBytes(32);
  const windows = new Map<string, ReplayWindow>();
  const generations = new Uint32Array(GENERATIONS);
  const placeOf = (contextId: string) => (Number.parseInt(contextId.slice(0, 4), 16) || 0) % GENERATIONS;
  const valueAt = (contextId: string, period: number) =>
    createHmac('sha256', key)
      .update(`${period} ${generations[placeOf(contextId)]} ${contextId}`)
      .digest()
      .subarray(0, ECHO_BYTES);
  const periodNow = () => Math.floor(monotonicMs() / ECHO_LIFETIME_MS);

  function keep(contextId: string, window: ReplayWindow): void {
    windows.delete(contextId);
    windows.set(contextId, window);
    dropOldest(windows, maxWindows, (oldest) => {
      // Without a window the request that came back with an Echo would be taken again for as long as that counts.
      const place = placeOf(oldest);
      generations[place] = (generations[place] as number) + 1;
    });
  }

  return {
    windowOf(contextId) {
      const window = windows.get(contextId);
      if (window !== undefined) keep(contextId, window);
      return window;
    },
    echoFor: (contextId) => valueAt(contextId, periodNow()),
    isEcho(contextId, value) {
      if (value.length !== ECHO_BYTES) return false;
      const period = periodNow();
      return [period, period - 1].some((one) => timingSafeEqual(valueAt(contextId, one), value));
    },
    begin(contextId, sequenceNumber) {
      // Those below were sent before, to be challenged or by who replays them: none of them is to be served late.
      keep(contextId, createReplayWindow(sequenceNumber));
    },
  };
}
