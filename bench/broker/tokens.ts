import { generateKeyPairSync, sign } from 'node:crypto';
import type { JsonWebKeySet } from '@fleetgate/shared';

export const ISSUER = 'https://issuer.bench';
export const AUDIENCE = 'mqtt';

export interface TokenMaker {
  readonly jwks: JsonWebKeySet;
  /** A token that may publish and subscribe under `bench/` and a few other places, as a device's policy has them. */
  token(clientId: string): string;
}

/** Signs as an issuer does, ES256. */
export function createTokenMaker(): TokenMaker {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const kid = 'bench';
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' };
  const header = encode({ alg: 'ES256', kid, typ: 'at+jwt' });
  let count = 0;
  return {
    jwks: { keys: [jwk] } as unknown as JsonWebKeySet,
    token(clientId) {
      count += 1;
      const now = Math.floor(Date.now() / 1000);
      const scp = [
        `mqtt:publish:devices/${clientId}/telemetry/#`,
        `mqtt:publish:devices/${clientId}/state`,
        'mqtt:publish:bench/#',
        `mqtt:subscribe:devices/${clientId}/commands/#`,
        'mqtt:subscribe:bench/#',
        // RabbitMQ's, for the same.
        `${AUDIENCE}.write:*/*/*`,
        `${AUDIENCE}.read:*/*/*`,
        `${AUDIENCE}.configure:*/*/*`,
      ];
      const claims = encode({
        iss: ISSUER,
        sub: clientId,
        client_id: clientId,
        aud: [AUDIENCE],
        scp,
        scope: scp.join(' '),
        jti: `bench-${count}`,
        iat: now,
        nbf: now - 5,
        exp: now + 3600,
      });
      const signature = sign('sha256', Buffer.from(`${header}.${claims}`), {
        key: privateKey,
        dsaEncoding: 'ieee-p1363',
      });
      return `${header}.${claims}.${signature.toString('base64url')}`;
    },
  };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
