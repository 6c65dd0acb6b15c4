import { addressKey, createAttemptRate, putBounded } from '@fleetgate/shared';

/** Requests that may come at once, in seconds of the rate: what a fleet does when the power comes back. */
const BURST_SECONDS = 5;

/** Addresses, and as many clients, whose rate is remembered: 10 MB each at most. The longest unseen are dropped. */
const MAX_REMEMBERED = 100_000;

/** How much is asked of the issuer before it says to come back later, or hangs up. */
export interface RequestLimits {
  /** Tokens of one client, and revocations by it; bursts may be five times that. Default 100. */
  readonly maxClientTokensPerSecond: number;
  /**
   * Requests from one address that leave a row in the audit trail: for a token or a revocation, whatever comes of them,
   * and for introspection that was refused. Bursts may be five times that. Default 2000.
   */
  readonly maxAddressRequestsPerSecond: number;
  /** Open connections from one address. Default 1000. */
  readonly maxAddressConnections: number;
}

export const defaultRequestLimits: RequestLimits = {
  maxClientTokensPerSecond: 100,
  maxAddressRequestsPerSecond: 2000,
  maxAddressConnections: 1000,
};

/** Who a request comes from. */
export interface Requester {
  /** Unset: there is no limit of it. */
  readonly address: string | undefined;
  /** As claimed. */
  readonly clientId: string | undefined;
}

export interface RequestRate {
  /** Milliseconds to wait for who requests a token, or to revoke one; 0 for none. Counts the request. */
  tokenWaitMs(from: Requester): number;
  /** The same for a request that leaves no row when it is served; if it is refused, `noteRow` counts it. */
  proofWaitMs(from: Requester): number;
  noteRow(from: Requester): void;
  /** What came of a request that did not have to wait. `token`: also of a revocation. */
  note(from: Requester, outcome: 'token' | 'proven' | 'unproven'): void;
}

/**
 * Limits of requests by address and by client. What counts against a client is proven to be its own, so that nobody
 * else can use up what it may; who fails to prove to be it, waits alone (see `createAttemptRate`).
 */
export function createRequestRate(
  limits: Omit<RequestLimits, 'maxAddressConnections'>,
  monotonicMs: () => number,
): RequestRate {
  const proofs = createAttemptRate({ monotonicMs });
  const ofAddress = createMeter(limits.maxAddressRequestsPerSecond);
  const ofClient = createMeter(limits.maxClientTokensPerSecond);
  const keyOf = (address: string | undefined) => (address === undefined ? undefined : addressKey(address));
  const addressWait = (key: string | undefined, nowMs: number) =>
    key === undefined ? 0 : ofAddress.waitMs(key, nowMs);

  return {
    tokenWaitMs({ address, clientId }) {
      const nowMs = monotonicMs();
      const key = keyOf(address);
      const addressWaitMs = addressWait(key, nowMs);
      if (addressWaitMs > 0) return addressWaitMs;
      if (key !== undefined) ofAddress.count(key, nowMs);
      const clientWaitMs = clientId === undefined ? 0 : ofClient.waitMs(clientId, nowMs);
      return Math.max(clientWaitMs, proofs.waitMs(key, clientId));
    },
    proofWaitMs({ address, clientId }) {
      const key = keyOf(address);
      return Math.max(addressWait(key, monotonicMs()), proofs.waitMs(key, clientId));
    },
    noteRow({ address }) {
      const key = keyOf(address);
      if (key !== undefined) ofAddress.count(key, monotonicMs());
    },
    note({ address, clientId }, outcome) {
      proofs.note(keyOf(address), clientId, outcome !== 'unproven');
      if (outcome === 'token' && clientId !== undefined) ofClient.count(clientId, monotonicMs());
    },
  };
}

/** Rates by key: each is one moment, up to which what has come would take at that rate (GCRA). */
function createMeter(maxPerSecond: number) {
  const spacingMs = 1000 / maxPerSecond;
  const burstMs = BURST_SECONDS * 1000;
  const takenUntilMs = new Map<string, number>();
  return {
    waitMs(key: string, nowMs: number): number {
      const untilMs = takenUntilMs.get(key);
      if (untilMs === undefined) return 0;
      // In microseconds: the rest of a sum of fractions is no wait.
      return Math.max(0, Math.round((untilMs + spacingMs - burstMs - nowMs) * 1000) / 1000);
    },
    count(key: string, nowMs: number): void {
      const untilMs = Math.max(nowMs, takenUntilMs.get(key) ?? nowMs);
      putBounded(takenUntilMs, key, untilMs + spacingMs, MAX_REMEMBERED);
    },
  };
}
