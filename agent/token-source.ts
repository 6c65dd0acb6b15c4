import { type Credentials, FleetgateError, OAuthError, type TokenResponse } from '@fleetgate/shared';
import { AccessToken } from './access-token.ts';
import { checkOptions } from './options.ts';
import {
  expiryMarginMs,
  type FailureKind,
  type Random,
  refreshDelayMs,
  retryDelayMs,
  tokenFailureKind,
} from './refresh-policy.ts';
import type { TokenCache } from './token-cache.ts';
import { type AgentTracer, tokenAttribute } from './tracer.ts';
import { IssuerBusyError, type TokenRequest, type TokenTransport } from './transport/token-transport.ts';
import { transportOf } from './transport/transport-of.ts';

/** Where access tokens come from. At most one token request is under way, whoever asks. */
export interface TokenSource {
  /**
   * A token that is valid now: the cached one without waiting, else a new one. From the refresh point on the
   * next one is fetched meanwhile, so that nobody waits for it.
   * @throws FleetgateError or OAuthError of the failed request; until its back-off has passed the issuer is not
   * asked again and the same error is thrown at once. `stopped` after the signal.
   */
  get(): Promise<AccessToken>;
  /** As `get`, but past the refresh point it waits for the new token, and rejects when there is none. */
  renew(): Promise<AccessToken>;
  /**
   * Asks for another token now, whatever is left of the one there is, which stays until then, and of a back-off.
   * @throws FleetgateError or OAuthError of the failed request
   */
  refresh(): Promise<AccessToken>;
  /** Aborted when another token takes the place of the one there is; then there is another signal here. */
  readonly replaced: AbortSignal;
  /** Forgets this token because somebody refused it. A newer one is kept. */
  invalidate(token: AccessToken): void;
  /** Milliseconds until the issuer may be asked again after a failure; 0 when it may be asked now. */
  readonly retryInMs: number;
  /** Of the last request; unset when it gave a token. */
  readonly failureKind: FailureKind | undefined;
}

export interface TokenSourceOptions {
  /** How the issuer is asked. Default: by the credentials, HTTP. */
  transport?: TokenTransport;
  /** Keeps the token over restarts; see `openTokenCache`. Default: none. */
  cache?: TokenCache;
  /** Gives up a request under way; afterwards every call rejects with `stopped`. */
  signal?: AbortSignal;
  /** Makes a span of each request; see `@fleetgate/agent/tracing`. Default: none. */
  tracer?: AgentTracer;
  /** Milliseconds of a clock that never jumps. Default `performance.now`. */
  now?: () => number;
  /** Chance for jitter. Default `Math.random`. */
  random?: Random;
}

/**
 * A token source for these credentials. It starts nothing by itself: no timer, no request before the first call.
 *
 *     const tokens = createTokenSource(await readCredentialsFile('device.json'));
 *     await fetch(url, { headers: { authorization: `Bearer ${(await tokens.get()).value}` } });
 *
 * @throws FleetgateError `not_supported` when no transport knows the authentication method
 */
export function createTokenSource(credentials: Credentials, options: TokenSourceOptions = {}): TokenSource {
  const known = ['transport', 'cache', 'signal', 'tracer', 'now', 'random'] as const;
  const {
    transport = transportOf(credentials),
    cache,
    signal = new AbortController().signal,
    tracer,
    now = () => performance.now(),
    random = Math.random,
  } = checkOptions(options, known);
  const request: TokenRequest = {
    ...(credentials.scope === undefined ? {} : { scope: credentials.scope }),
    ...(credentials.audience === undefined ? {} : { audience: credentials.audience }),
  };

  let cached: AccessToken | undefined;
  let restoring: Promise<void> | undefined;
  let underWay: Promise<AccessToken> | undefined;
  let replacing = new AbortController();
  let failure: { error: unknown; kind: FailureKind; count: number; retryAtMs: number } | undefined;
  /** Of the credential, since the last token. */
  let refusals = 0;

  const usable = (): AccessToken | undefined =>
    cached !== undefined && now() < cached.expiresAtMs - expiryMarginMs(cached.lifetimeSeconds * 1000)
      ? cached
      : undefined;
  const retryInMs = () => Math.max(0, (failure?.retryAtMs ?? 0) - now());

  /** What was kept over a restart, at the first call. */
  function restore(of: TokenCache): Promise<void> {
    restoring ??= of.read().then((kept) => {
      if (kept === undefined) return;
      const { value, scope, lifetimeSeconds, ageMs } = kept;
      const response = { access_token: value, token_type: 'Bearer', expires_in: lifetimeSeconds } as const;
      const whole = scope === undefined ? response : { ...response, scope };
      cached ??= toAccessToken(whole, now() - ageMs, random);
    });
    return restoring;
  }

  function ask(): Promise<AccessToken> {
    if (failure !== undefined && retryInMs() > 0) return Promise.reject(failure.error);
    underWay ??= requestOnce().finally(() => {
      underWay = undefined;
    });
    return underWay;
  }

  async function requestOnce(): Promise<AccessToken> {
    // Counted from before the request: the issuer's clock for this token started later.
    const askedAtMs = now();
    const span = tracer?.('fleetgate.token');
    const traceparent = span?.traceparent;
    try {
      const response = await transport(
        traceparent === undefined ? request : { ...request, traceparent },
        signal,
      );
      cached = toAccessToken(response, askedAtMs, random, traceparent);
      span?.end('ok', tokenAttribute(response.access_token));
      failure = undefined;
      refusals = 0;
      const before = replacing;
      replacing = new AbortController();
      before.abort();
      const { value, scope, lifetimeSeconds } = cached;
      void cache?.write({ value, scope, lifetimeSeconds, ageMs: now() - askedAtMs });
      return cached;
    } catch (error) {
      span?.end(codeOf(error));
      throwIfStopped();
      const kind = tokenFailureKind(error, refusals);
      if (error instanceof OAuthError && error.code === 'invalid_client') refusals += 1;
      const count = failure?.kind === kind ? failure.count : 0;
      const retryAfterMs = error instanceof IssuerBusyError ? error.retryAfterMs : undefined;
      const delayMs = retryDelayMs({ kind, attempt: count, retryAfterMs }, random);
      failure = { error, kind, count: count + 1, retryAtMs: now() + delayMs };
      throw error;
    }
  }

  async function waitFor(asked: Promise<AccessToken>): Promise<AccessToken> {
    const token = await asked;
    // It may have expired on the way here: a short lifetime, a long pause of the process.
    if (now() < token.expiresAtMs) return token;
    throw new FleetgateError(
      'token_expired',
      'the issuer gave a token that had expired before it could be used',
    );
  }

  function throwIfStopped(): void {
    if (signal.aborted) throw new FleetgateError('stopped', 'the token source was stopped');
  }

  return Object.freeze({
    async get() {
      throwIfStopped();
      if (cache !== undefined) await restore(cache);
      const token = usable();
      if (token === undefined) return waitFor(ask());
      if (now() >= token.refreshAtMs) ask().catch(() => undefined);
      return token;
    },
    async renew() {
      throwIfStopped();
      if (cache !== undefined) await restore(cache);
      const token = usable();
      return token !== undefined && now() < token.refreshAtMs ? token : waitFor(ask());
    },
    async refresh() {
      throwIfStopped();
      if (failure !== undefined) failure.retryAtMs = 0;
      return waitFor(ask());
    },
    get replaced() {
      return replacing.signal;
    },
    invalidate(token: AccessToken) {
      if (cached !== token) return;
      cached = undefined;
      void cache?.forget();
    },
    get retryInMs() {
      return retryInMs();
    },
    get failureKind() {
      return failure?.kind;
    },
  });
}

function codeOf(error: unknown): string {
  return error instanceof FleetgateError || error instanceof OAuthError ? error.code : 'internal_error';
}

function toAccessToken(
  response: TokenResponse,
  askedAtMs: number,
  random: Random,
  traceparent?: string,
): AccessToken {
  const lifetimeMs = response.expires_in * 1000;
  const times = {
    expiresAtMs: askedAtMs + lifetimeMs,
    refreshAtMs: askedAtMs + refreshDelayMs(lifetimeMs, random),
    lifetimeSeconds: response.expires_in,
  };
  return new AccessToken(response.access_token, times, response.scope, traceparent);
}
