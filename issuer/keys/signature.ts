import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { type AccessTokenClaims, type AccessTokenHeader, signatures } from '@fleetgate/shared';
import type { StoredSigningKey } from '../registry/signing-key-registry.ts';

/** The claims as a compact JWS. */
export type Signer = (claims: AccessTokenClaims) => Promise<string>;

/** A published key of ours, for tokens of ours. */
export interface TokenVerifier {
  readonly kid: string;
  /** `signature` is base64url. */
  isSignature(signature: string, signingInput: string): Promise<boolean>;
}

/** Signs by the private half of a key. */
export function compactSigner(stored: StoredSigningKey, privateJwk: string): Signer {
  const key = createPrivateKey({ key: JSON.parse(privateJwk) as Record<string, unknown>, format: 'jwk' });
  const encodedHeader = encodedHeaderOf(stored);
  return async (claims) => {
    const input = `${encodedHeader}.${base64url(JSON.stringify(claims))}`;
    return `${input}.${await signatures.sign(stored.algorithm, key, input)}`;
  };
}

/** What verifies tokens of each key, by the first part of such a token. */
export function verifiersOf(keys: readonly StoredSigningKey[]): ReadonlyMap<string, TokenVerifier> {
  return new Map(keys.map((key) => [encodedHeaderOf(key), verifierOf(key)]));
}

function encodedHeaderOf({ kid, algorithm }: StoredSigningKey): string {
  const header: AccessTokenHeader = { alg: algorithm, kid, typ: 'at+jwt' };
  return base64url(JSON.stringify(header));
}

function verifierOf({ kid, algorithm, publicJwk }: StoredSigningKey): TokenVerifier {
  let key: KeyObject | undefined;
  return {
    kid,
    isSignature(signature, signingInput) {
      key ??= createPublicKey({ key: publicJwk, format: 'jwk' });
      return signatures.verify(algorithm, key, signingInput, signature);
    },
  };
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url');
}
