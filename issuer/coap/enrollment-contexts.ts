import { deriveContext, enrollmentContext, enrollmentOfKid, isIdentifier } from '@fleetgate/shared';
import { deviceKey } from '../fleet/enrollment-proof.ts';
import { groupKeyLabel } from '../fleet/enrollments.ts';
import type { KeyEncryption } from '../keys/key-encryption.ts';
import type { Registry } from '../registry/registry.ts';
import type { DeviceContext } from './contexts.ts';

/** Longest registration id, in bytes. */
const MAX_REGISTRATION_ID_BYTES = 64;

/**
 * Contexts of devices that enroll, by the kid of their enrollment and the registration id beside it. Each is derived for
 * each request and none is kept: before one has decrypted anything, whoever names ids would fill the memory with them.
 */
export function enrollmentContexts(
  registry: Pick<Registry, 'findEnrollmentStarting'>,
  encryption: KeyEncryption,
): (kid: Uint8Array, kidContext: Uint8Array) => Promise<DeviceContext | undefined> {
  return async (kid, kidContext) => {
    const named = enrollmentOfKid(kid);
    if (named === undefined || kidContext.length > MAX_REGISTRATION_ID_BYTES) return undefined;
    const registrationId = Buffer.from(kidContext).toString('latin1');
    if (!isIdentifier(registrationId)) return undefined;
    const enrollment = await registry.findEnrollmentStarting(named.idStart);
    const encrypted = enrollment?.groupKeys?.[named.which];
    if (enrollment === undefined || encrypted === undefined) return undefined;
    const groupKey = Buffer.from(
      encryption.decrypt(encrypted, groupKeyLabel(enrollment.id, named.which)),
      'base64',
    );
    const key = deviceKey(groupKey, registrationId);
    // A copy: what came from outside is a view of a datagram.
    const { issuer } = enrollmentContext(Uint8Array.from(kid), key, registrationId);
    return {
      contextId: `${Buffer.from(kid).toString('hex')} ${registrationId}`,
      context: deriveContext(issuer),
      of: { kind: 'enrollment', enrollmentId: enrollment.id, registrationId, deviceKey: key },
    };
  };
}
