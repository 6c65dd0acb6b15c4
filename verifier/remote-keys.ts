import { TokenError } from '@fleetgate/shared';
import { discover, endpointOf } from './discovery.ts';
import { fetchJson } from './fetch-json.ts';
import { type KeySet, loadKeySet } from './key-set.ts';
import { type FindKey, type KeyLog, pick, type ReportSkipped, unknownKey } from './key-source.ts';

/** How long one fetch may take, discovery and body included. A CONNECT waits for it, and its own deadline is 10 s. */
const FETCH_TIMEOUT_MS = 5_000;

/** Bytes of a key set: 64 keys of RSA 8192 have a third of it. */
const MAX_KEY_SET_BYTES = 262_144;

/** No second fetch for an unknown `kid` within this time: made-up ones must not become load on the issuer. */
const FETCH_COOLDOWN_MS = 30_000;

/** After the first failure; it doubles up to the cooldown, so that an issuer that just starts is found soon. */
const FIRST_RETRY_MS = 1_000;

/** For how long a set is fresh, where the answer does not say (RFC 9111 §5.2.2.1), and the bounds of what it says. */
const DEFAULT_FRESH_MS = 600_000;
const MIN_FRESH_MS = 60_000;
const MAX_FRESH_MS = 86_400_000;

/** For how long after that keys are used while the issuer is away. */
export const DEFAULT_MAX_STALE_SECONDS = 86_400;

/** Finds out where the keys are. */
export type LocateKeys = (signal: AbortSignal) => Promise<string | { readonly problem: string }>;

export interface RemoteKeysOptions {
  readonly issuer: string;
  readonly locate: LocateKeys;
  readonly maxStaleSeconds: number;
  readonly reportSkipped: ReportSkipped;
  readonly log: KeyLog;
  /** Milliseconds on a clock that cannot be set. */
  readonly monotonicMs: () => number;
  /** Counts of all issuers. */
  readonly counts: KeyFetchCounts;
  /** Default {@link FETCH_TIMEOUT_MS}. */
  readonly timeoutMs?: number;
}

export interface KeyFetchCounts {
  keyFetches: number;
  keyFetchFailures: number;
}

interface FetchedKeys {
  readonly keys: KeySet;
  readonly fetchedAtMs: number;
  readonly freshMs: number;
}

/**
 * Keys at a URL: fetched when first needed, again for an unknown `kid`, and in the background once they are no longer
 * fresh. A set that was fetched replaces the one before whole, so a retired key ends with it. While the issuer is away
 * the keys that are known are used for a while; unreachable is `keys_unavailable`, another thing than a key that is
 * not there. There is one fetch at a time, and after each a pause.
 */
export function remoteKeys(options: RemoteKeysOptions): FindKey {
  const { issuer, monotonicMs, counts, log, timeoutMs = FETCH_TIMEOUT_MS } = options;
  const maxStaleMs = options.maxStaleSeconds * 1000;
  let known: FetchedKeys | undefined;
  let fetching: Promise<void> | undefined;
  let nextFetchAtMs = Number.NEGATIVE_INFINITY;
  let failures = 0;

  /** Resolves once what can be known now is known. */
  function refresh(): Promise<void> {
    if (fetching === undefined && monotonicMs() < nextFetchAtMs) return Promise.resolve();
    fetching ??= fetchAndKeep().finally(() => {
      fetching = undefined;
    });
    return fetching;
  }

  async function fetchAndKeep(): Promise<void> {
    counts.keyFetches += 1;
    const fetched = await fetchKeys(options, AbortSignal.timeout(timeoutMs));
    if ('problem' in fetched) {
      counts.keyFetchFailures += 1;
      failures += 1;
      nextFetchAtMs = monotonicMs() + Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), FETCH_COOLDOWN_MS);
      log.warn({ event: 'keys_unavailable', issuer, problem: fetched.problem }, 'keys cannot be fetched');
      return;
    }
    if (failures > 0) log.info({ event: 'keys_available', issuer }, 'keys can be fetched again');
    failures = 0;
    known = { ...fetched, fetchedAtMs: monotonicMs() };
    nextFetchAtMs = known.fetchedAtMs + FETCH_COOLDOWN_MS;
  }

  /** The keys, if they may still be used, refreshed as their age asks for. */
  async function keysNow(): Promise<KeySet> {
    const ageMs = known === undefined ? Number.POSITIVE_INFINITY : monotonicMs() - known.fetchedAtMs;
    const { freshMs = 0 } = known ?? {};
    if (ageMs > freshMs + maxStaleMs) {
      await refresh();
    } else if (ageMs > freshMs) {
      const refreshed = refresh();
      // Nobody asked for long, so the keys are older than the issuer ever wanted, and it is not known to be away.
      if (ageMs > 2 * freshMs && failures === 0) await refreshed;
    }
    if (known === undefined || monotonicMs() - known.fetchedAtMs > known.freshMs + maxStaleMs) unavailable();
    return known.keys;
  }

  function unavailable(): never {
    throw new TokenError('keys_unavailable', 'the keys of the issuer cannot be had');
  }

  return async (name) => {
    const keys = await keysNow();
    if (keys.has(name.kid)) return pick(keys, name) ?? unknownKey();
    await refresh();
    const found = pick(known?.keys ?? keys, name);
    if (found !== undefined) return found;
    // While the issuer is away nobody can say that there is no such key.
    return failures > 0 ? unavailable() : unknownKey();
  };
}

/** Keys at a known address. */
export function keysAt(jwksUri: string): LocateKeys {
  return async () => jwksUri;
}

/** Keys at the `jwks_uri` of the issuer's metadata (RFC 8414 §2), read for each fetch of the keys. */
export function keysByMetadata(issuer: string): LocateKeys {
  return async (signal) => {
    const metadata = await discover(issuer, signal);
    return 'problem' in metadata ? metadata : endpointOf(metadata, ['jwks_uri'], issuer);
  };
}

async function fetchKeys(
  { locate, reportSkipped }: RemoteKeysOptions,
  signal: AbortSignal,
): Promise<{ readonly keys: KeySet; readonly freshMs: number } | { readonly problem: string }> {
  const url = await locate(signal);
  if (typeof url !== 'string') return url;
  const answer = await fetchJson({ url, signal, maxBytes: MAX_KEY_SET_BYTES });
  if (answer.problem !== undefined) return answer;
  try {
    const { keys, skipped } = loadKeySet(answer.value);
    reportSkipped(skipped);
    return { keys, freshMs: freshMsOf(answer.cacheControl) };
  } catch (error) {
    // Nothing may come out of here: nobody waits for a refresh in the background.
    return { problem: error instanceof TypeError ? error.message : 'the key set cannot be read' };
  }
}

/** RFC 9111 §5.2.2: of `no-store` and `no-cache` the spirit is kept, the shortest time. */
function freshMsOf(cacheControl: string | null): number {
  if (cacheControl === null) return DEFAULT_FRESH_MS;
  if (/(?:^|[\s,])no-(?:store|cache)(?:$|[\s,=])/i.test(cacheControl)) return MIN_FRESH_MS;
  const seconds = /(?:^|[\s,])max-age="?(\d{1,10})/i.exec(cacheControl)?.[1];
  if (seconds === undefined) return DEFAULT_FRESH_MS;
  return Math.min(Math.max(Number(seconds) * 1000, MIN_FRESH_MS), MAX_FRESH_MS);
}
