import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { createReplayWindow, putBounded, type ReplayWindow } from '@fleetgate/shared';

/** How long an Echo value counts: the round trips of a device on a slow network, retransmissions included. */
const ECHO_LIFETIME_MS = 60_000;
const ECHO_BYTES = 8;

/** Contexts whose window is remembered; one that was dropped is challenged again. */
const MAX_WINDOWS = 100_000;

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
export function trackFreshness(monotonicMs: () => number): Freshness {
  const key = randomBytes(32);
  const windows = new Map<string, ReplayWindow>();
  const valueAt = (contextId: string, period: number) =>
    createHmac('sha256', key).update(`${period} ${contextId}`).digest().subarray(0, ECHO_BYTES);
  const periodNow = () => Math.floor(monotonicMs() / ECHO_LIFETIME_MS);

  return {
    windowOf(contextId) {
      const window = windows.get(contextId);
      if (window !== undefined) putBounded(windows, contextId, window, MAX_WINDOWS);
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
      putBounded(windows, contextId, createReplayWindow(sequenceNumber), MAX_WINDOWS);
    },
  };
}
