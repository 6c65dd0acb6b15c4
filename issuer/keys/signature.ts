import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import {
  type AccessTokenClaims,
  type AccessTokenHeader,
  derFromJoined,
  joinedFromDer,
  type SigningAlgorithm,
} from '@fleetgate/shared';
import type { StoredSigningKey } from '../registry/signing-key-registry.ts';

/** The claims as a compact JWS. */
export type Signer = (claims: AccessTokenClaims) => string;

/** A published key of ours, for tokens of ours. */
export interface TokenVerifier {
  readonly kid: string;
  isSignature(signature: Buffer, signingInput: string): boolean;
}

/** Signs by the private half of a key. */
export function compactSigner(stored: StoredSigningKey, privateJwk: string): Signer {
  const key = createPrivateKey({ key: JSON.parse(privateJwk) as Record<string, unknown>, format: 'jwk' });
  const encodedHeader = encodedHeaderOf(stored);
  const signature = signatures[stored.algorithm];
  return (claims) => {
    const input = `${encodedHeader}.${base64url(JSON.stringify(claims))}`;
    return `${input}.${signature(Buffer.from(input), key).toString('base64url')}`;
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
      return isSignature[algorithm](Buffer.from(signingInput), key, signature);
    },
  };
}

const isSignature: Record<SigningAlgorithm, (input: Buffer, key: KeyObject, signature: Buffer) => boolean> = {
  ES256: (input, key, signature) => {
    const der = derFromJoined(signature);
    return der !== undefined && verify('sha256', input, key, der);
  },
  EdDSA: (input, key, signature) => verify(null, input, key, signature),
  RS256: (input, key, signature) => verify('sha256', input, key, signature),
};

const signatures: Record<SigningAlgorithm, (input: Buffer, key: KeyObject) => Buffer> = {
  // Asking node:crypto for r‖s itself takes twice as long on Node 24.
  ES256: (input, key) => joinedFromDer(sign('sha256', input, key)),
  EdDSA: (input, key) => sign(null, input, key),
  RS256: (input, key) => sign('sha256', input, key),
};

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url');
}
