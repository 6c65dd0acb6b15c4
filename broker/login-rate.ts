import { clientIdPattern, returnCodes } from './connect.ts';

/**
 * Failed logins of one client id from one address until it must wait. A device that has lost its way, as with an
 * expired token, finds out with one or two.
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

/** Since its last login; a device that was here a while ago is served, whoever fails at its address or in its name. */
export const GOOD_STANDING_MS = 3_600_000;

/** Pairs of address and client id with failures, and as many in good standing: 30 MB at most. The oldest are dropped. */
export const MAX_PAIRS = 100_000;

export interface LoginRate {
  /** Whether a CONNECT is to be answered "come back later", asked before its token is verified. */
  mustWait(addressKey: string | undefined, clientId: string): boolean;
  /** How a CONNECT ended that did not have to wait: 0 or the return code it was refused with. */
  note(addressKey: string | undefined, clientId: string, returnCode: number): void;
}

export interface LoginRateOptions {
  /** Milliseconds on the clock that cannot be set. */
  readonly monotonicMs: () => number;
  readonly maxPairs?: number;
}

interface Failures {
  readonly count: number;
  readonly lastMs: number;
  readonly waitsUntilMs: number;
}

/**
 * Login back-off, by address and MQTT client id. Failures and good standing are kept apart, as only a verified token
 * gives good standing: no number of failures pushes out that of a victim. To push out its own failures an attacker
 * needs as many others as there is room for, which the limit of its address makes slow.
 *
 * A pair can name anybody's client id: whoever shares an address with a device may send wrong tokens in its name. So a
 * device in good standing never waits: what its neighbour fails with costs a verification each, and not its login.
 */
export function createLoginRate({ monotonicMs, maxPairs = MAX_PAIRS }: LoginRateOptions): LoginRate {
  const failures = new Map<string, Failures>();
  /** Moment of the last login. */
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

  function noteFailure(pair: string, nowMs: number): void {
    const before = failures.get(pair);
    const count = before === undefined || nowMs - before.lastMs >= FORGET_MS ? 1 : before.count + 1;
    const backoffMs =
      count < FREE_FAILURES
        ? 0
        : Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(count - FREE_FAILURES, 16));
    put(failures, pair, { count, lastMs: nowMs, waitsUntilMs: nowMs + backoffMs }, maxPairs);
  }

  return {
    mustWait(source, clientId) {
      const nowMs = monotonicMs();
      const pair = pairKey(source, clientId);
      const waitsUntilMs = pair === undefined ? undefined : failures.get(pair)?.waitsUntilMs;
      const isPairSlow = waitsUntilMs !== undefined && nowMs < waitsUntilMs;
      const isAddressSlow = source !== undefined && ofAddress(source, nowMs) > MAX_ADDRESS_FAILURES;
      return (isPairSlow || isAddressSlow) && !isGood(pair, nowMs);
    },
    note(source, clientId, returnCode) {
      const nowMs = monotonicMs();
      const pair = pairKey(source, clientId);
      if (returnCode === 0) {
        if (pair === undefined) return;
        failures.delete(pair);
        put(inGoodStanding, pair, nowMs, maxPairs);
      } else if (returnCode !== returnCodes.unavailable) {
        if (pair !== undefined) noteFailure(pair, nowMs);
        if (source !== undefined) failuresOfAddress.set(source, ofAddress(source, nowMs) + 1);
      }
    },
  };
}

/**
 * `undefined` for an empty client id, which many devices of one address may have, and for one that is refused anyway,
 * which may be as long as a CONNECT: there is only the limit of the address. Streams without an address have none.
 */
function pairKey(source: string | undefined, clientId: string): string | undefined {
  return clientIdPattern.test(clientId) ? `${source ?? ''} ${clientId}` : undefined;
}

/** Makes it the newest. */
function put<Value>(map: Map<string, Value>, key: string, value: Value, max: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= max) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
