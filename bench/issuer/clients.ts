/** The clients of a run. Both the process that registers them and the one that makes the load derive them. */
import { createECDH, createHash } from 'node:crypto';

export const SCOPE = 'telemetry.write commands.read';
export const AUDIENCE = 'https://mqtt.bench';

export const clientId = (n: number) => `device-${n}`;

export function clientSecret(n: number): string {
  return createHash('sha256').update(`bench-${n}`).digest('base64url');
}

/** The key pair, of ES256, by which client `n` authenticates where the clients do so by one. */
export function clientKeys(n: number) {
  const pair = createECDH('prime256v1');
  pair.setPrivateKey(createHash('sha256').update(`bench-key-${n}`).digest());
  const point = pair.getPublicKey();
  const publicJwk = {
    kty: 'EC',
    crv: 'P-256',
    x: point.subarray(1, 33).toString('base64url'),
    y: point.subarray(33).toString('base64url'),
    kid: `key-${n}`,
    alg: 'ES256',
  };
  return { publicJwk, privateJwk: { ...publicJwk, d: pair.getPrivateKey().toString('base64url') } };
}
