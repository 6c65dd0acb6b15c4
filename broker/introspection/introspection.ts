import { checkNames, isSecureAddress } from '@fleetgate/shared';
import {
  discover,
  endpointOf,
  type FetchedJson,
  fetchJson,
  isDiscoverable,
  type KeyLog,
} from '@fleetgate/verifier';
import type { DeadlinesOptions } from '../deadlines.ts';
import { createTokenWatch } from './token-watch.ts';

/** How an issuer is asked whether tokens still count (RFC 7662). */
export interface IntrospectionSettings {
  /** https unless loopback. Default: what the issuer's metadata names. */
  readonly endpoint?: string;
  /** A client of the issuer that may introspect; it authenticates with `client_secret_basic`. */
  readonly clientId: string;
  readonly clientSecret: string;
  /** Seconds between two questions about one token, at least 10. Default 60. */
  readonly intervalSeconds?: number;
}

export interface IntrospectionOptions extends IntrospectionSettings {
  readonly issuer: string;
  readonly log: KeyLog;
  /** Gets what an `onInactive` throws. */
  readonly onError: (error: unknown) => void;
  /** Milliseconds on a clock that cannot be set. Default `performance.now`. */
  readonly monotonicMs?: () => number;
  readonly timers?: Pick<DeadlinesOptions, 'setTimer' | 'clearTimer'>;
  /** Milliseconds for one question, discovery included. Default 5000. */
  readonly timeoutMs?: number;
}

/** `unknown`: the issuer did not say, and nothing follows from it. */
export type TokenActivity = 'active' | 'inactive' | 'unknown';

export interface Introspection {
  /** Asks once. Never rejects. */
  check(tokenText: string): Promise<TokenActivity>;
  /**
   * Asks at once and then every interval, so that a client that reconnects faster is seen too, and calls `onInactive`
   * when the issuer says so, once; then, or when the function that is returned is called, the token is forgotten.
   */
  watch(tokenText: string, onInactive: () => void): () => void;
  /** Tokens that are watched. */
  readonly watched: number;
  /** Forgets all. */
  close(): void;
}

const DEFAULT_INTERVAL_SECONDS = 60;
const MIN_INTERVAL_SECONDS = 10;
const MAX_INTERVAL_SECONDS = 86_400;

const TIMEOUT_MS = 5_000;

/** An answer has the claims of one token; a token is 8 KiB at most. */
const MAX_ANSWER_BYTES = 65_536;

/** Metadata is not read again within this time. */
const DISCOVERY_COOLDOWN_MS = 30_000;

const settingNames = ['endpoint', 'clientId', 'clientSecret', 'intervalSeconds'];

/** @throws TypeError for settings that cannot work */
export function checkIntrospection(issuer: string, settings: IntrospectionSettings): void {
  checkNames(settings, settingNames, 'introspection.');
  const { endpoint, clientId, clientSecret, intervalSeconds = DEFAULT_INTERVAL_SECONDS } = settings;
  if (endpoint === undefined && !isDiscoverable(issuer)) {
    throw new TypeError('introspection.endpoint is missing, and this issuer is no address to find it at');
  }
  if (endpoint !== undefined && !isSecureAddress(endpoint)) {
    throw new TypeError('introspection.endpoint must be an https address, or http on a loopback host');
  }
  if (typeof clientId !== 'string' || clientId === '')
    throw new TypeError('introspection.clientId is missing');
  if (typeof clientSecret !== 'string' || clientSecret === '') {
    throw new TypeError('introspection.clientSecret is missing');
  }
  const isInterval = intervalSeconds >= MIN_INTERVAL_SECONDS && intervalSeconds <= MAX_INTERVAL_SECONDS;
  if (!(Number.isFinite(intervalSeconds) && isInterval)) {
    throw new TypeError(
      `introspection.intervalSeconds must be between ${MIN_INTERVAL_SECONDS} and ${MAX_INTERVAL_SECONDS}`,
    );
  }
}

/**
 * Asks an issuer about tokens, for issuers whose revocations nothing else tells of. The text of a token is kept in
 * memory while it is watched, and nowhere else. Watch at most one token a session: there is no bound here.
 * @throws TypeError
 */
export function createIntrospection(options: IntrospectionOptions): Introspection {
  const { issuer, log, onError, monotonicMs = () => performance.now(), timers = {} } = options;
  const {
    clientId,
    clientSecret,
    intervalSeconds = DEFAULT_INTERVAL_SECONDS,
    timeoutMs = TIMEOUT_MS,
  } = options;
  const { endpoint } = options;
  checkIntrospection(issuer, {
    ...(endpoint === undefined ? {} : { endpoint }),
    clientId,
    clientSecret,
    intervalSeconds,
  });
  const locate = endpoint === undefined ? endpointLocator(issuer, monotonicMs) : () => endpoint;
  const authorization = basicAuthorization(clientId, clientSecret);
  let isAway = false;

  async function check(tokenText: string): Promise<TokenActivity> {
    const signal = AbortSignal.timeout(timeoutMs);
    const url = await locate(signal, isAway);
    const form = new URLSearchParams({ token: tokenText, token_type_hint: 'access_token' });
    const answer: FetchedJson =
      typeof url === 'string'
        ? await fetchJson({ url, signal, maxBytes: MAX_ANSWER_BYTES, form, authorization })
        : url;
    const active = answer.problem === undefined ? activeOf(answer.value) : undefined;
    tellOfChange(
      active !== undefined,
      answer.problem ?? 'the answer does not say whether the token is active',
    );
    return active === undefined ? 'unknown' : active ? 'active' : 'inactive';
  }

  /** One line when the issuer stops answering, one when it is back. */
  function tellOfChange(hasAnswered: boolean, problem: string): void {
    if (hasAnswered !== isAway) return;
    isAway = !hasAnswered;
    if (isAway)
      log.warn({ event: 'introspection_unavailable', issuer, problem }, 'tokens cannot be introspected');
    else log.info({ event: 'introspection_available', issuer }, 'tokens can be introspected again');
  }

  const tokens = createTokenWatch({
    check,
    intervalMs: intervalSeconds * 1000,
    deadlines: { now: monotonicMs, onError, ...timers },
  });
  return Object.freeze({
    check,
    watch: tokens.watch,
    get watched() {
      return tokens.size;
    },
    close: tokens.close,
  });
}

function activeOf(answer: unknown): boolean | undefined {
  if (typeof answer !== 'object' || answer === null) return undefined;
  const { active } = answer as { active?: unknown };
  return typeof active === 'boolean' ? active : undefined;
}

type LocateEndpoint = (
  signal: AbortSignal,
  isDoubtful: boolean,
) => string | Promise<string | { readonly problem: string }>;

/** RFC 8414 §2 names it so; SuperTokens the other way. */
const endpointNames = ['introspection_endpoint', 'token_introspection_endpoint'];

/** Finds the endpoint by the issuer's metadata, once, and again when it is in doubt; one found before is kept. */
function endpointLocator(issuer: string, monotonicMs: () => number): LocateEndpoint {
  let found: string | { readonly problem: string } | undefined;
  let finding: Promise<void> | undefined;
  let nextAtMs = Number.NEGATIVE_INFINITY;

  async function find(signal: AbortSignal): Promise<void> {
    const metadata = await discover(issuer, signal);
    const endpoint = 'problem' in metadata ? metadata : endpointOf(metadata, endpointNames, issuer);
    if (typeof endpoint === 'string' || typeof found !== 'string') found = endpoint;
    nextAtMs = monotonicMs() + DISCOVERY_COOLDOWN_MS;
  }

  return async (signal, isDoubtful) => {
    if (found === undefined || (isDoubtful && monotonicMs() >= nextAtMs)) {
      finding ??= find(signal).finally(() => {
        finding = undefined;
      });
      await finding;
    }
    return found ?? { problem: 'the endpoint is not known' };
  };
}

/** RFC 6749 §2.3.1: id and secret are form-encoded each, then joined for HTTP Basic. */
function basicAuthorization(clientId: string, clientSecret: string): string {
  const pair = `${formEncode(clientId)}:${formEncode(clientSecret)}`;
  return `Basic ${Buffer.from(pair, 'utf8').toString('base64')}`;
}

function formEncode(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1);
}
