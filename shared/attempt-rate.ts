import { putBounded } from './bounded-map.ts';

/**
 * Failures of one name from one address until it must wait. Who has lost its way, as with an expired token, finds out
 * with one or two.
 */
export const FREE_FAILURES = 5;

/** The wait after them; it doubles with each further failure. */
export const FIRST_BACKOFF_MS = 1_000;
export const MAX_BACKOFF_MS = 60_000;

/** Since the last failure; longer than the longest wait, so that whoever only waits is not new each time. */
export const FORGET_MS = 300_000;

/** Failures of an address in one second; below it one bad device behind a gateway leaves the others alone. */
export const MAX_ADDRESS_FAILURES = 50;
const ADDRESS_WINDOW_MS = 1_000;

/** Since its last success; who was here a while ago is served, whoever fails at its address or in its name. */
export const GOOD_STANDING_MS = 3_600_000;

/** Pairs of address and name with failures, and as many in good standing: 30 MB at most. The oldest are dropped. */
export const MAX_PAIRS = 100_000;

/** `Reason`: the codes of why an attempt may fail. */
export interface AttemptRate<Reason extends string = string> {
  /**
   * Milliseconds until an attempt may be made again; 0 for now. Asked before it is looked at. `name` is unset where it
   * is no name that could be: then there is only the limit of the address. Without an address there is none of it.
   */
  waitMs(addressKey: string | undefined, name: string | undefined): number;
  /** How an attempt ended that did not have to wait. */
  note(
    addressKey: string | undefined,
    name: string | undefined,
    isAccepted: boolean,
    /** Why it failed: one of a few constant codes, kept with the failures. */
    reason?: Reason,
  ): void;
  /** Why the last attempt of that name from that address failed, while it is remembered. */
  lastReason(addressKey: string | undefined, name: string | undefined): Reason | undefined;
}

export interface AttemptRateOptions {
  /** Milliseconds on the clock that cannot be set. */
  readonly monotonicMs: () => number;
  readonly maxPairs?: number;
}

interface Failures<Reason> {
  readonly count: number;
  readonly lastMs: number;
  readonly waitsUntilMs: number;
  readonly reason: Reason | undefined;
}

/**
 * Back-off from attempts to prove to be somebody, by address and name. Failures and good standing are kept apart, as
 * only a proof gives good standing: no number of failures pushes out that of a victim. To push out its own failures an
 * attacker needs as many others as there is room for, which the limit of its address makes slow.
 *
 * A pair can name anybody: whoever shares an address with a device may fail in its name. So who is in good standing
 * never waits: what its neighbour fails with costs a look each, and not its access.
 */
export function createAttemptRate<Reason extends string = string>({
  monotonicMs,
  maxPairs = MAX_PAIRS,
}: AttemptRateOptions): AttemptRate<Reason> {
  const failures = new Map<string, Failures<Reason>>();
  /** Moment of the last success. */
  const inGoodStanding = new Map<string, number>();
  /** Of the second that began at `windowMs`. */
  const failuresOfAddress = new Map<string, number>();
  let windowMs = Number.NEGATIVE_INFINITY;

  function ofAddress(address: string, nowMs: number): number {
    if (nowMs - windowMs >= ADDRESS_WINDOW_MS) {
      failuresOfAddress.clear();
      windowMs = nowMs;
    }
    return failuresOfAddress.get(address) ?? 0;
  }

  function isGood(pair: string | undefined, nowMs: number): boolean {
    const lastMs = pair === undefined ? undefined : inGoodStanding.get(pair);
    return lastMs !== undefined && nowMs - lastMs < GOOD_STANDING_MS;
  }

  function noteFailure(pair: string, nowMs: number, reason: Reason | undefined): void {
    const before = failures.get(pair);
    const count = before === undefined || nowMs - before.lastMs >= FORGET_MS ? 1 : before.count + 1;
    const backoffMs =
      count < FREE_FAILURES
        ? 0
        : Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(count - FREE_FAILURES, 16));
    putBounded(failures, pair, { count, lastMs: nowMs, waitsUntilMs: nowMs + backoffMs, reason }, maxPairs);
  }

  return {
    waitMs(addressKey, name) {
      const nowMs = monotonicMs();
      const pair = pairKey(addressKey, name);
      const ofPair = (pair === undefined ? undefined : failures.get(pair)?.waitsUntilMs) ?? nowMs;
      const isAddressSlow = addressKey !== undefined && ofAddress(addressKey, nowMs) > MAX_ADDRESS_FAILURES;
      const untilMs = Math.max(ofPair, isAddressSlow ? windowMs + ADDRESS_WINDOW_MS : nowMs);
      return untilMs <= nowMs || isGood(pair, nowMs) ? 0 : untilMs - nowMs;
    },
    note(addressKey, name, isAccepted, reason) {
      const nowMs = monotonicMs();
      const pair = pairKey(addressKey, name);
      if (isAccepted) {
        if (pair === undefined) return;
        failures.delete(pair);
        putBounded(inGoodStanding, pair, nowMs, maxPairs);
      } else {
        if (pair !== undefined) noteFailure(pair, nowMs, reason);
        if (addressKey !== undefined) failuresOfAddress.set(addressKey, ofAddress(addressKey, nowMs) + 1);
      }
    },
    lastReason(addressKey, name) {
      const pair = pairKey(addressKey, name);
      return pair === undefined ? undefined : failures.get(pair)?.reason;
    },
  };
}

function pairKey(addressKey: string | undefined, name: string | undefined): string | undefined {
  return name === undefined ? undefined : `${addressKey ?? ''} ${name}`;
}
