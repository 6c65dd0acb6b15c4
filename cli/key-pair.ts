import {
  createECDH,
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';

export type Jwk = Record<string, unknown>;

/** A pair for ES256; `kid` is the thumbprint of the public key (RFC 7638), so it names this key and no other. */
export interface KeyPair {
  readonly publicJwk: Jwk;
  readonly privateJwk: Jwk;
}

export function makeKeyPair(): KeyPair {
  return pairOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
}

/**
 * The pair that belongs to a label, the same each time: one that was registered and not yet written down is not lost.
 * @param secret 32 random bytes, kept as the keys are
 */
export function deriveKeyPair(secret: Uint8Array, label: string): KeyPair {
  for (let attempt = 0; ; attempt += 1) {
    const d = Buffer.from(hkdfSync('sha256', secret, '', `${label} ${attempt}`, 32));
    const point = publicPoint(d);
    // Of 2^32 numbers one is none of the curve's.
    if (point === undefined) continue;
    const jwk = {
      kty: 'EC',
      crv: 'P-256',
      d: d.toString('base64url'),
      x: point.subarray(1, 33).toString('base64url'),
      y: point.subarray(33).toString('base64url'),
    };
    return pairOf(createPrivateKey({ key: jwk, format: 'jwk' }));
  }
}

function publicPoint(d: Buffer): Buffer | undefined {
  const curve = createECDH('prime256v1');
  try {
    curve.setPrivateKey(d);
    return curve.getPublicKey();
  } catch {
    return undefined;
  }
}

function pairOf(privateKey: KeyObject): KeyPair {
  const { crv, kty, x, y } = createPublicKey(privateKey).export({ format: 'jwk' });
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
  const named = { kid, alg: 'ES256' };
  return {
    publicJwk: { kty, crv, x, y, ...named },
    privateJwk: { ...privateKey.export({ format: 'jwk' }), ...named },
  };
}
