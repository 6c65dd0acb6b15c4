import {
  constants,
  createPrivateKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  randomUUID,
  sign,
} from 'node:crypto';

/** A key pair of a client, and what it is registered with. */
export interface ClientKeyPair {
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly publicJwk: Record<string, unknown>;
  readonly jwks: { readonly keys: readonly Record<string, unknown>[] };
}

const pairs = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
};

export function clientKeyPair(alg: keyof typeof pairs = 'ES256', kid = 'k1'): ClientKeyPair {
  const { privateKey, publicKey } = pairs[alg]();
  const publicJwk = { ...publicKey.export({ format: 'jwk' }), kid, alg };
  return { alg, privateKey, publicJwk, jwks: { keys: [publicJwk] } };
}

export interface AssertionParts {
  readonly header?: Record<string, unknown>;
  readonly claims?: Record<string, unknown>;
  /** Changes the text of the claims before it is signed. */
  readonly retext?: (claims: string) => string;
  /** Makes the signature in place of the pair's key. */
  readonly signature?: (input: Buffer) => Buffer;
  /** Milliseconds since 1970. */
  readonly nowMs?: number;
}

/** A client assertion, any part of it as a test wants it. What is `undefined` is left out. */
export function clientAssertion(
  pair: ClientKeyPair,
  clientId: string,
  audience: unknown,
  { header, claims, retext = (text) => text, signature, nowMs = Date.now() }: AssertionParts = {},
): string {
  const nowSeconds = Math.floor(nowMs / 1000);
  const encode = (text: string) => Buffer.from(text).toString('base64url');
  const input = [
    encode(JSON.stringify({ alg: pair.alg, kid: pair.publicJwk['kid'], ...header })),
    encode(
      retext(
        JSON.stringify({
          iss: clientId,
          sub: clientId,
          aud: audience,
          iat: nowSeconds,
          nbf: nowSeconds,
          exp: nowSeconds + 60,
          jti: randomUUID(),
          ...claims,
        }),
      ),
    ),
  ].join('.');
  const make = signature ?? ((bytes: Buffer) => signatureOf(pair, bytes));
  return `${input}.${make(Buffer.from(input)).toString('base64url')}`;
}

function signatureOf({ alg, privateKey }: ClientKeyPair, input: Buffer): Buffer {
  switch (alg) {
    case 'EdDSA':
      return sign(null, input, privateKey);
    case 'RS256':
      return sign('sha256', input, privateKey);
    case 'PS256':
      return sign('sha256', input, {
        key: privateKey,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      });
    default:
      return sign(alg === 'ES384' ? 'sha384' : 'sha256', input, {
        key: privateKey,
        dsaEncoding: 'ieee-p1363',
      });
  }
}

/** The private key of a JWK, for those that were written into a file. */
export const keyOfJwk = (jwk: Record<string, unknown>): KeyObject =>
  createPrivateKey({ key: jwk as JsonWebKey, format: 'jwk' });

/** The grant by an assertion, as a form. */
export const assertionForm = (assertion: string, more: Record<string, string> = {}) => ({
  grant_type: 'client_credentials',
  client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  client_assertion: assertion,
  ...more,
});
