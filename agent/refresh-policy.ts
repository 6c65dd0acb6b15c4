/** When to ask for a token or connect again. Pure: time and chance are passed in, nothing here waits. */

import { FleetgateError, OAuthError } from '@fleetgate/shared';

/** A number in [0, 1). */
export type Random = () => number;

/**
 * Milliseconds after which a token of this lifetime is to be replaced:
 *
 *     lifetime × (0.8 − 0.1 × random)
 *
 * so between 70 % and 80 % of the lifetime, spread so that devices started together do not ask together. At
 * least a fifth of the lifetime is left for retries.
 */
export function refreshDelayMs(lifetimeMs: number, random: Random): number {
  return lifetimeMs * (0.8 - 0.1 * random());
}

/**
 * Milliseconds before its expiry from which a token is not handed out any more: 1 % of the lifetime, at most
 * 1 s. It would expire on the way.
 */
export function expiryMarginMs(lifetimeMs: number): number {
  return Math.min(1000, lifetimeMs / 100);
}

/**
 * What kind of failure it was. `transient` passes by itself (network, timeout, overload). `refused` stays until
 * somebody changes the credentials, the registration or the policy. `dead` is a credential the issuer has refused again
 * (`invalid_client`): nothing but another credential is expected to help.
 */
export type FailureKind = 'transient' | 'refused' | 'dead';

/** First step of the transient back-off, in milliseconds. */
export const TRANSIENT_BASE_MS = 1000;
/** Its cap: 60 s, a few per cent of the usual lifetime of 15 minutes. */
export const TRANSIENT_CAP_MS = 60_000;
/** First step after a refusal: asking at once again gets the same answer. */
export const REFUSED_BASE_MS = 30_000;
/** Its cap: a fleet with dead credentials must not be a load, and a mended one must come back without a visit. */
export const REFUSED_CAP_MS = 300_000;
/** First step with a dead credential: somebody has to come, and does not come sooner for being asked. */
export const DEAD_BASE_MS = 900_000;
/** Its cap: 3600 s, so that a client that is registered again under the same secret comes back within the hour. */
export const DEAD_CAP_MS = 3_600_000;
/** Longest `Retry-After` that is obeyed: an issuer that says more is asked once an hour. */
export const RETRY_AFTER_CAP_MS = 3_600_000;

export interface Failure {
  kind: FailureKind;
  /** Failures of this kind before this one, in a row: 0 for the first. */
  attempt: number;
  /** What the server asked for with `Retry-After`. */
  retryAfterMs?: number | undefined;
}

/**
 * Milliseconds to wait after a failure, with ceiling = min(cap, base × 2^attempt):
 *
 *     transient   random × ceiling                    (full jitter; base 1 s, cap 60 s)
 *     refused     ceiling / 2 + random × ceiling / 2  (base 30 s, cap 300 s)
 *     dead        ceiling / 2 + random × ceiling / 2  (base 900 s, cap 3600 s)
 *     Retry-After that time + random × ceiling        (never sooner than asked, nor all at the same moment)
 */
export function retryDelayMs(failure: Failure, random: Random): number {
  const { kind, attempt, retryAfterMs } = failure;
  const [baseMs, capMs] = stepsOf[kind];
  const ceilingMs = Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30));
  if (retryAfterMs !== undefined) {
    return Math.min(Math.max(0, retryAfterMs), RETRY_AFTER_CAP_MS) + random() * ceilingMs;
  }
  return kind === 'transient' ? random() * ceilingMs : ceilingMs / 2 + (random() * ceilingMs) / 2;
}

const stepsOf: Readonly<Record<FailureKind, readonly [baseMs: number, capMs: number]>> = {
  transient: [TRANSIENT_BASE_MS, TRANSIENT_CAP_MS],
  refused: [REFUSED_BASE_MS, REFUSED_CAP_MS],
  dead: [DEAD_BASE_MS, DEAD_CAP_MS],
};

/**
 * The kind of a failed token request. What is not known to be a refusal may pass.
 * @param refusals of the credential (`invalid_client`) before this one, without a token in between: one may be a
 * rotation under way or an issuer that was restored, two are the credential. Default 0.
 */
export function tokenFailureKind(error: unknown, refusals = 0): FailureKind {
  if (error instanceof OAuthError) {
    if (error.code === 'invalid_client' && refusals > 0) return 'dead';
    return error.code === 'temporarily_unavailable' || error.code === 'server_error'
      ? 'transient'
      : 'refused';
  }
  const permanent = ['not_supported', 'credentials_invalid'];
  return error instanceof FleetgateError && permanent.includes(error.code) ? 'refused' : 'transient';
}

/**
 * The kind of a refused CONNECT by its return code (MQTT 3.1.1 §3.2.2.3): 3, server unavailable, passes; 4 is
 * mended by a new token, and is `refused` when a new token met it too; 1, 2 and 5 stay.
 */
export function connectRefusalKind(returnCode: number): FailureKind {
  return returnCode === 3 ? 'transient' : 'refused';
}
