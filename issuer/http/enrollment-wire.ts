import Type from 'typebox';
import type { EnrollmentCredential } from '../fleet/enrollments.ts';
import type { EnrollmentRecord, EnrollmentRequestRecord } from '../registry/enrollment-registry.ts';
import { time } from './secret-wire.ts';

/** What an enrollment is made of. */
export const NewEnrollment = Type.Object(
  {
    template: Type.String({ description: 'what its devices have in common' }),
    kind: Type.Optional(
      Type.Enum(['claim_code', 'group_key'], { description: 'what opens it. Default: claim_code' }),
    ),
    device: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description:
          'what a device cannot say otherwise, as a row of a provisioning job; `serial` binds it to one device',
      }),
    ),
    max_uses: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: 'devices that may come. Default: 1 with a claim code, no limit with a group key',
      }),
    ),
    expires_at: Type.Optional(
      Type.Union([Type.Integer(), Type.String()], {
        description: 'seconds since 1970, or RFC 3339. Default: no end',
      }),
    ),
    approval: Type.Optional(
      Type.Boolean({
        description: 'whether devices wait until they are approved or allowed. Default: false',
      }),
    ),
    replace: Type.Optional(
      Type.Boolean({
        description:
          'whether a client that the template made gets new credentials when its device comes again. Default: false',
      }),
    ),
  },
  { additionalProperties: false },
);

/** An enrollment, without what opens it. */
export const Enrollment = Type.Object(
  {
    enrollment_id: Type.String(),
    kind: Type.Enum(['claim_code', 'group_key']),
    state: Type.Enum(['open', 'exhausted', 'expired', 'revoked']),
    template: Type.String(),
    device: Type.Record(Type.String(), Type.Unknown()),
    uses: Type.Integer({ description: 'devices that have come' }),
    max_uses: Type.Optional(Type.Integer()),
    expires_at: Type.Optional(Type.String({ format: 'date-time' })),
    approval: Type.Boolean(),
    replace: Type.Boolean(),
    created_by: Type.String({ description: 'name of the API key' }),
    created_at: Type.String({ format: 'date-time' }),
    revoked_at: Type.Optional(Type.String({ format: 'date-time' })),
  },
  { $id: 'Enrollment' },
);

/** What opens it, in the answer to its making alone. */
export const shownOnce = {
  claim_code: Type.Optional(Type.String({ description: 'shown this once' })),
  primary_key: Type.Optional(Type.String({ description: 'base64; shown this once' })),
  secondary_key: Type.Optional(Type.String({ description: 'base64; shown this once' })),
};

/** A device that came to one. */
export const DeviceRequest = Type.Object(
  {
    request_id: Type.String(),
    enrollment_id: Type.String(),
    state: Type.Enum(['pending', 'approved', 'rejected', 'enrolled']),
    client_id: Type.String(),
    group: Type.Optional(Type.String()),
    labels: Type.Record(Type.String(), Type.String()),
    reason: Type.Optional(Type.String({ description: 'why it was rejected' })),
    created_at: Type.String({ format: 'date-time' }),
    updated_at: Type.String({ format: 'date-time' }),
  },
  { $id: 'EnrollmentRequest' },
);

export function enrollmentView(one: EnrollmentRecord) {
  return {
    enrollment_id: one.id,
    kind: one.codeHash === undefined ? 'group_key' : 'claim_code',
    state: stateOf(one),
    template: one.template,
    device: one.row,
    uses: one.uses,
    ...(one.maxUses !== undefined && { max_uses: one.maxUses }),
    ...(one.expiresAtMs !== undefined && { expires_at: time(one.expiresAtMs) }),
    approval: one.needsApproval,
    replace: one.replaces,
    created_by: one.createdBy,
    created_at: time(one.createdAtMs),
    ...(one.revokedAtMs !== undefined && { revoked_at: time(one.revokedAtMs) }),
  };
}

function stateOf({ revokedAtMs, expiresAtMs, maxUses, uses }: EnrollmentRecord) {
  if (revokedAtMs !== undefined) return 'revoked';
  if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) return 'expired';
  return maxUses !== undefined && uses >= maxUses ? 'exhausted' : 'open';
}

export function credentialFields(credential: EnrollmentCredential) {
  return 'claimCode' in credential
    ? { claim_code: credential.claimCode }
    : { primary_key: credential.primaryKey, secondary_key: credential.secondaryKey };
}

export function requestView(one: EnrollmentRequestRecord) {
  return {
    request_id: one.id,
    enrollment_id: one.enrollmentId,
    state: one.state,
    client_id: one.clientId,
    ...(one.registration.group !== undefined && { group: one.registration.group }),
    labels: one.registration.labels ?? {},
    ...(one.reason !== undefined && { reason: one.reason }),
    created_at: time(one.createdAtMs),
    updated_at: time(one.updatedAtMs),
  };
}
