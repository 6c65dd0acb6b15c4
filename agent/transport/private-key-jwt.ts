import { createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject, randomUUID } from 'node:crypto';
import {
  type Credentials,
  FleetgateError,
  isSignatureOf,
  type Jwk,
  publicMembersOf,
  type SigningAlgorithm,
  signatureOf,
  signingAlgorithmOf,
} from '@fleetgate/shared';
import type { ClientAuthentication } from './client-auth.ts';

/** Seconds an assertion is good for: it is used at once, and clocks differ. */
const ASSERTION_LIFETIME = 60;

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/**
 * `private_key_jwt`: an assertion signed for each request, good once (RFC 7523 §2.2, §3).
 * @throws FleetgateError `credentials_invalid` for a key that cannot sign
 */
export function privateKeyJwt({ client_id: clientId, issuer }: Credentials, jwk: Jwk): ClientAuthentication {
  const { algorithm, key } = signingKey(jwk);
  const { kid } = jwk;
  const header = encode({ alg: algorithm, ...(typeof kid === 'string' && { kid }) });
  return async () => {
    const nowSeconds = Math.floor(Date.now() / 1000);
    const claims = {
      iss: clientId,
      sub: clientId,
      aud: issuer,
      jti: randomUUID(),
      iat: nowSeconds,
      exp: nowSeconds + ASSERTION_LIFETIME,
    };
    const input = `${header}.${encode(claims)}`;
    const assertion = `${input}.${signatureOf(algorithm, key, input)}`;
    return {
      parameters: { client_assertion_type: ASSERTION_TYPE, client_assertion: assertion },
      secrets: [assertion],
    };
  };
}

function signingKey(jwk: Jwk): { algorithm: SigningAlgorithm; key: KeyObject } {
  const algorithm = signingAlgorithmOf(jwk);
  if (algorithm === undefined || (jwk['alg'] !== undefined && jwk['alg'] !== algorithm)) {
    return invalid('is for none of ES256, EdDSA and RS256');
  }
  const key = keyOf(jwk, algorithm);
  return key === undefined ? invalid('is no private key') : { algorithm, key };
}

function keyOf(jwk: Jwk, algorithm: SigningAlgorithm): KeyObject | undefined {
  try {
    const key = createPrivateKey({ key: jwk as JsonWebKey, format: 'jwk' });
    const publicKey = createPublicKey({ key: publicMembersOf(jwk) as JsonWebKey, format: 'jwk' });
    // One whose halves do not belong together is found now, and not by a refusal.
    return isSignatureOf(algorithm, publicKey, '', signatureOf(algorithm, key, '')) ? key : undefined;
  } catch {
    // The library's message may quote the key.
    return undefined;
  }
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}

function invalid(problem: string): never {
  throw new FleetgateError('credentials_invalid', `auth.private_jwk ${problem}`);
}
