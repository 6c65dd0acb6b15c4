import { createPublicKey, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import type { JsonWebKeySet, PublicJsonWebKey, SigningAlgorithm } from '@fleetgate/shared';

export interface TokenOverrides {
  clientId?: string;
  scope?: readonly string[];
  expiresInSeconds?: number;
  /** Merged over the usual claims; `undefined` takes one away. */
  claims?: Record<string, unknown>;
  header?: Record<string, unknown>;
}

export interface TestIssuer {
  readonly name: string;
  readonly kid: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
  jwks(): JsonWebKeySet;
  token(overrides?: TokenOverrides): string;
  /** A token of any two JSON texts, signed as it should be. */
  tokenOf(headerJson: string | Uint8Array, payloadJson: string | Uint8Array): string;
}

/** An issuer that signs whatever it is told to. */
export function testIssuer(name = 'https://issuer.example', alg: SigningAlgorithm = 'ES256'): TestIssuer {
  const { publicKey, privateKey } = keyPair(alg);
  const kid = randomUUID();
  const jwk = {
    ...createPublicKey(publicKey.export({ type: 'spki', format: 'pem' })).export({ format: 'jwk' }),
    kid,
    alg,
    use: 'sig',
  } as PublicJsonWebKey;

  function tokenOf(headerJson: string | Uint8Array, payloadJson: string | Uint8Array): string {
    const input = `${base64url(headerJson)}.${base64url(payloadJson)}`;
    return `${input}.${signature(alg, privateKey, input)}`;
  }

  return {
    name,
    kid,
    publicKey,
    privateKey,
    jwks: () => ({ keys: [jwk] }),
    tokenOf,
    token: ({ clientId = 'device-1', scope = [], expiresInSeconds = 600, claims = {}, header = {} } = {}) => {
      const now = Math.floor(Date.now() / 1000);
      const usual = {
        iss: name,
        sub: clientId,
        client_id: clientId,
        aud: ['mqtt'],
        scp: scope,
        scope: scope.join(' '),
        stt: 1,
        jti: randomUUID(),
        gid: randomUUID(),
        iat: now,
        nbf: now - 5,
        exp: now + expiresInSeconds,
      };
      return tokenOf(
        JSON.stringify({ alg, kid, typ: 'at+jwt', ...header }),
        JSON.stringify({ ...usual, ...claims }),
      );
    },
  };
}

export function base64url(text: string | Uint8Array): string {
  return Buffer.from(text as string).toString('base64url');
}

function keyPair(alg: SigningAlgorithm): { publicKey: KeyObject; privateKey: KeyObject } {
  switch (alg) {
    case 'ES256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' });
    case 'EdDSA':
      return generateKeyPairSync('ed25519');
    case 'RS256':
      return generateKeyPairSync('rsa', { modulusLength: 2048 });
  }
}

function signature(alg: SigningAlgorithm, key: KeyObject, input: string): string {
  const bytes = Buffer.from(input);
  if (alg === 'EdDSA') return sign(null, bytes, key).toString('base64url');
  return sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');
}
