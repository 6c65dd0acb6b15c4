import type { Logger } from 'pino';
import type { ClientRecord, JsonObject } from '../registry/registry.ts';
import { type ClientKey, loadClientKeys } from './client-key-set.ts';
import { type RemoteClientKeys, remoteClientKeys } from './remote-client-keys.ts';

export {
  type AssertionAlgorithm,
  assertionAlgorithmOf,
  assertionAlgorithms,
  type ClientKey,
} from './client-key-set.ts';

/** Sets whose keys are kept ready, each some kilobytes. Ours: the clients that ask within a few minutes. */
const MAX_READY_SETS = 10_000;

/** The keys that clients are registered with, as they are now. */
export interface ClientKeys {
  /**
   * The keys of a client. `keyId` is one that should be among them: where they lie elsewhere it may be new.
   * @throws OAuthError `temporarily_unavailable` when they lie elsewhere and cannot be had
   */
  of(client: ClientRecord, keyId: string | undefined): Promise<readonly ClientKey[]>;
}

export interface ClientKeysOptions {
  readonly log?: Logger | undefined;
  /** Milliseconds on a clock that cannot be set. */
  readonly monotonicMs?: () => number;
}

export function openClientKeys({ log, monotonicMs }: ClientKeysOptions = {}): ClientKeys {
  // By its whole text: a set that was changed is another one.
  const ready = new Map<string, readonly ClientKey[]>();
  const remote: RemoteClientKeys = remoteClientKeys({ log, ...(monotonicMs && { monotonicMs }) });

  function registeredKeys(jwks: JsonObject): readonly ClientKey[] {
    const text = JSON.stringify(jwks);
    const known = ready.get(text) ?? loadClientKeys(jwks).keys;
    // The one used last is the last to go.
    ready.delete(text);
    ready.set(text, known);
    if (ready.size > MAX_READY_SETS) ready.delete(ready.keys().next().value as string);
    return known;
  }

  return {
    async of({ jwks, jwksUri }, keyId) {
      if (jwksUri !== undefined) return remote.keysAt(jwksUri, keyId);
      return jwks === undefined ? [] : registeredKeys(jwks);
    },
  };
}
