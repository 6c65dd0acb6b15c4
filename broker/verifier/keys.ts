import type { JsonWebKeySet, PublicJsonWebKey } from '@fleetgate/shared';
import { TokenError } from '@fleetgate/shared';
import type { CryptoKey } from 'jose';
import { createRemoteJWKSet, errors, importJWK } from 'jose';

/** Finds the public key a token names. Only `kid` and `alg` are looked at: nothing in a token causes a fetch of its own. */
export type KeySource = (name: KeyName) => Promise<CryptoKey>;

export interface KeyName {
  readonly kid: string;
  readonly alg: string;
}

/** How long one fetch of keys may take. A CONNECT waits for it, and its own deadline is 10 s. */
const FETCH_TIMEOUT_MS = 5_000;

/** No second fetch for an unknown `kid` within this time: made-up ones must not become load on the issuer. */
const FETCH_COOLDOWN_MS = 30_000;

/** Keys kept imported. An issuer that rotates has a few; beyond it they are imported anew. */
const MAX_IMPORTED_KEYS = 64;

/** Keys at a URL. Unreachable is `keys_unavailable`, another thing than a key that is not there. */
export function remoteKeys(jwksUri: string): KeySource {
  const url = URL.parse(jwksUri);
  if (url === null || !(url.protocol === 'https:' || url.protocol === 'http:')) {
    throw new TypeError(`not an http or https address of keys: ${jwksUri}`);
  }
  const find = createRemoteJWKSet(url, {
    timeoutDuration: FETCH_TIMEOUT_MS,
    cooldownDuration: FETCH_COOLDOWN_MS,
  });
  return async (name) => {
    try {
      return await find({ ...name });
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
        throw new TokenError('token_key_unknown', 'no key of the issuer has this kid and alg');
      }
      throw new TokenError('keys_unavailable', 'the keys of the issuer cannot be had', { cause: error });
    }
  };
}

/** Keys of an issuer in this process. A key that is no longer in the set is no longer found. */
export function localKeys(jwks: () => JsonWebKeySet): KeySource {
  const imported = new Map<string, Promise<CryptoKey>>();
  return async ({ kid, alg }) => {
    const found = keysNow(jwks).filter((key) => key.kid === kid);
    const [jwk] = found;
    if (jwk === undefined || found.length > 1 || jwk.alg !== alg || jwk.use !== 'sig') {
      throw new TokenError('token_key_unknown', 'no key of the issuer has this kid and alg');
    }
    // The whole key is the name: a kid that comes back with another key is another entry.
    const name = JSON.stringify(jwk);
    let key = imported.get(name);
    if (key === undefined) {
      if (imported.size >= MAX_IMPORTED_KEYS) imported.clear();
      key = importPublic(jwk);
      imported.set(name, key);
    }
    return key;
  };
}

function keysNow(jwks: () => JsonWebKeySet): readonly PublicJsonWebKey[] {
  try {
    return jwks().keys;
  } catch (error) {
    throw new TokenError('keys_unavailable', 'the keys of the issuer cannot be had', { cause: error });
  }
}

async function importPublic(jwk: PublicJsonWebKey): Promise<CryptoKey> {
  let key: Awaited<ReturnType<typeof importJWK>>;
  try {
    key = await importJWK(jwk, jwk.alg);
  } catch (error) {
    throw new TokenError('token_key_unknown', 'the key of this kid is not usable', { cause: error });
  }
  if (key instanceof Uint8Array || key.type !== 'public') {
    throw new TokenError('token_key_unknown', 'the key of this kid is not a public key');
  }
  return key;
}
