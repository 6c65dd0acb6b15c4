import type { Revocation, RevocationTarget } from '@fleetgate/shared';
import type { RecordedRevocation, RevocationTarget as Target } from '../revocation.ts';

/** The revocation in the spelling of the feed and the admin API. */
export function toWire(revocation: RecordedRevocation): Revocation {
  const { cursor, expiresAtSeconds } = revocation;
  return { ...targetToWire(revocation), cursor, expires_at: expiresAtSeconds };
}

function targetToWire(target: Target): RevocationTarget {
  switch (target.kind) {
    case 'token':
      return { kind: 'token', jti: target.tokenId };
    case 'client':
      return {
        kind: 'client',
        client_id: target.clientId,
        at: target.atSeconds,
        ...(target.isQuarantined ? { quarantined: true } : {}),
      };
    case 'issued_before':
      return {
        kind: 'issued_before',
        ...(target.clientId === undefined ? {} : { client_id: target.clientId }),
        at: target.atSeconds,
      };
    case 'key':
      return { kind: 'key', kid: target.keyId };
  }
}
