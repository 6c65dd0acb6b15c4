import { TokenError } from '@fleetgate/shared';
import { compactVerify, errors } from 'jose';
import { readClaims } from './claims.ts';
import { parseTokenForm } from './form.ts';
import type { Issuer, TrustedIssuer } from './issuer.ts';
import { prepareIssuers } from './issuer.ts';
import type { KeyName } from './keys.ts';
import type { Peer, VerifiedToken } from './verified-token.ts';

/** What a token says, once it has verified. Rejects with a `TokenError`. */
export type VerifyToken = (token: Uint8Array | undefined, peer?: Peer) => Promise<VerifiedToken>;

export interface VerifierOptions {
  readonly issuers: readonly TrustedIssuer[];
  readonly audience: string;
  readonly clockSkewSeconds: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Characters of a `kid`: it is compared with the names of a few keys. */
const MAX_KEY_ID_LENGTH = 256;

/**
 * Makes the one function that verifies tokens. The cheap checks come first: form, header and claims
 * cost microseconds, so that a stale or foreign token does not cost a signature check.
 */
export function createVerifier(options: VerifierOptions): VerifyToken {
  const issuers = prepareIssuers(options.issuers, options.audience);
  const { clockSkewSeconds } = options;

  return async (token, _peer) => {
    const { text, header, claims } = parseTokenForm(token);
    const issuer = issuers.get(claims.get('iss') as string);
    if (issuer === undefined) throw new TokenError('token_issuer_unknown', 'iss is not a trusted issuer');
    const name = readHeader(header, issuer);
    const nowSeconds = options.now() / 1000;
    const { group, ...read } = readClaims(claims, issuer, nowSeconds, clockSkewSeconds);
    await checkSignature(text, issuer, name);
    return Object.freeze({
      ...read,
      ...(group === undefined ? {} : { group }),
      issuer: issuer.issuer,
      keyId: name.kid,
      claims: withoutPrototype(claims),
    });
  };
}

/** `jwk`, `jku`, `x5u` and `x5c` are not even looked at: a token does not say who may have signed it (RFC 8725 §3.10). */
function readHeader(header: ReadonlyMap<string, unknown>, issuer: Issuer): KeyName {
  if (header.has('crit') || header.has('b64')) {
    throw new TokenError('token_type_refused', 'the token demands an extension (crit, b64)');
  }
  const type = header.get('typ');
  if (typeof type !== 'string' || !issuer.types.has(type.toLowerCase())) {
    throw new TokenError('token_type_refused', 'typ is not that of an access token');
  }
  const alg = header.get('alg');
  if (typeof alg !== 'string' || !issuer.algorithms.has(alg)) {
    throw new TokenError('token_algorithm_refused', 'alg is not one of those this issuer signs with');
  }
  const kid = header.get('kid');
  if (typeof kid !== 'string' || kid === '' || kid.length > MAX_KEY_ID_LENGTH) {
    throw new TokenError('token_key_unknown', 'the token names no key');
  }
  return { kid, alg };
}

async function checkSignature(text: string, issuer: Issuer, name: KeyName): Promise<void> {
  const key = await issuer.keys(name);
  try {
    await compactVerify(text, key, { algorithms: [name.alg] });
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) {
      throw new TokenError('token_signature_invalid', 'the signature does not verify');
    }
    throw new TokenError('token_key_unknown', 'the key of this kid does not fit the token', { cause: error });
  }
}

function withoutPrototype(claims: ReadonlyMap<string, unknown>): Readonly<Record<string, unknown>> {
  const object: Record<string, unknown> = Object.create(null);
  for (const [name, value] of claims) object[name] = value;
  return object;
}
