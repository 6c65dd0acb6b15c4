import { OAuthError } from '@fleetgate/shared';
import type { Logger } from 'pino';
import { type ClientKey, loadClientKeys } from './client-key-set.ts';
import { fetchKeySet } from './fetch-key-set.ts';

/** How long one fetch may take, body included. A token request waits for it. */
const FETCH_TIMEOUT_MS = 5_000;

/** How long a set is used without asking again. Ours: a key that was taken out of it ends within that time. */
const FRESH_MS = 300_000;

/** How long after that it is used while its server is away. Ours: an outage of an hour stops no device. */
const MAX_STALE_MS = 3_600_000;

/** No second fetch of one set within this time: made-up key ids must not become load on its server. */
const FETCH_COOLDOWN_MS = 30_000;

/** After the first failure; it doubles up to the cooldown. */
const FIRST_RETRY_MS = 1_000;

/** Sets that are remembered. Ours: some kilobytes each; usually a fleet has one for all its devices. */
const MAX_SETS = 1_000;

/** Fetches at once, of all sets: who names clients at random must not make us a flood. */
const MAX_FETCHES = 32;

/** The keys that clients have elsewhere (`jwks_uri`, RFC 7591 §2). */
export interface RemoteClientKeys {
  /**
   * The keys at an address; with a `keyId` that is not among them they are fetched again.
   * @throws OAuthError `temporarily_unavailable`
   */
  keysAt(uri: string, keyId: string | undefined): Promise<readonly ClientKey[]>;
}

export function remoteClientKeys({
  log,
  monotonicMs = () => performance.now(),
}: {
  readonly log: Logger | undefined;
  readonly monotonicMs?: () => number;
}): RemoteClientKeys {
  const sets = new Map<string, RemoteSet>();
  const fetches = { running: 0 };

  function setAt(uri: string): RemoteSet {
    const set = sets.get(uri) ?? remoteSet(uri, { log, monotonicMs, fetches });
    // The one used last is the last to go.
    sets.delete(uri);
    sets.set(uri, set);
    if (sets.size > MAX_SETS) sets.delete(sets.keys().next().value as string);
    return set;
  }

  return { keysAt: (uri, keyId) => setAt(uri)(keyId) };
}

type RemoteSet = (keyId: string | undefined) => Promise<readonly ClientKey[]>;

interface SetContext {
  readonly log: Logger | undefined;
  readonly monotonicMs: () => number;
  readonly fetches: { running: number };
}

/** One set: one fetch at a time, after each a pause, and each that succeeds replaces the set before whole. */
function remoteSet(uri: string, { log, monotonicMs, fetches }: SetContext): RemoteSet {
  const { origin } = new URL(uri);
  let known: { readonly keys: readonly ClientKey[]; readonly fetchedAtMs: number } | undefined;
  let fetching: Promise<void> | undefined;
  let nextFetchAtMs = Number.NEGATIVE_INFINITY;
  let failures = 0;

  /** Resolves once what can be known now is known. */
  function refresh(): Promise<void> {
    if (fetching !== undefined) return fetching;
    if (monotonicMs() < nextFetchAtMs || fetches.running >= MAX_FETCHES) return Promise.resolve();
    fetches.running += 1;
    fetching = fetchAndKeep().finally(() => {
      fetches.running -= 1;
      fetching = undefined;
    });
    return fetching;
  }

  async function fetchAndKeep(): Promise<void> {
    const fetched = await fetchKeySet(uri, FETCH_TIMEOUT_MS);
    const loaded = fetched.problem === undefined ? load(fetched.set) : { problem: fetched.problem };
    if ('problem' in loaded) {
      const { problem } = loaded;
      failures += 1;
      nextFetchAtMs = monotonicMs() + Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), FETCH_COOLDOWN_MS);
      log?.warn({ event: 'client_keys_unavailable', origin, problem }, 'keys of a client cannot be fetched');
      return;
    }
    failures = 0;
    const { keys, problems } = loaded;
    if (problems.length > 0) {
      log?.warn({ event: 'client_key_skipped', origin, problems }, 'keys of a client are not used');
    }
    known = { keys, fetchedAtMs: monotonicMs() };
    nextFetchAtMs = known.fetchedAtMs + FETCH_COOLDOWN_MS;
  }

  const ageMs = () => (known === undefined ? Number.POSITIVE_INFINITY : monotonicMs() - known.fetchedAtMs);

  return async (keyId) => {
    if (ageMs() > FRESH_MS) await refresh();
    if (keyId !== undefined && known?.keys.some((key) => key.keyId === keyId) === false) await refresh();
    if (known === undefined || ageMs() > FRESH_MS + MAX_STALE_MS) {
      throw new OAuthError(
        'temporarily_unavailable',
        'the keys of the client cannot be fetched; try again later',
      );
    }
    return known.keys;
  };
}

function load(set: unknown): ReturnType<typeof loadClientKeys> | { readonly problem: string } {
  try {
    return loadClientKeys(set);
  } catch (error) {
    return {
      problem: error instanceof TypeError ? `the key set ${error.message}` : 'the key set cannot be read',
    };
  }
}
