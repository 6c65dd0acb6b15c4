import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { addressKey, createAttemptRate, FleetgateError } from '@fleetgate/shared';
import { type AuditEvent, anonymousActor, auditEvent, enrollmentActor } from '../audit.ts';
import type { ShownCredential } from '../client-credential.ts';
import { makeClient, type RegisteredClient } from '../client-registration.ts';
import { SlowDownError } from '../limited-requests.ts';
import { limitRecords } from '../record-limit.ts';
import type {
  Admission,
  EnrollmentRecord,
  EnrollmentRequestRecord,
} from '../registry/enrollment-registry.ts';
import type { NewClientRecord } from '../registry/registry.ts';
import { expiring } from '../revocation.ts';
import { isLiveSecret } from '../secrets.ts';
import { derivedRandom } from './derived-random.ts';
import {
  type DeviceIdentityOptions,
  deviceIdentity,
  type EnrollCall,
  isSameKey,
  type Known,
  type Opened,
} from './device-identity.ts';
import { closedWords, exhausted, expectRecorded, refused } from './enroll-refusal.ts';
import { type EnrollRegistrationOptions, enrollRegistration } from './enroll-registration.ts';
import { closedReason } from './enrollments.ts';

export type Enrolled =
  | {
      readonly status: 'enrolled';
      readonly client: NewClientRecord;
      /** Empty for a device that brought its key. */
      readonly shown: ShownCredential;
    }
  /** It is to come again later, as it came now. */
  | { readonly status: 'pending'; readonly clientId: string };

/** How long a device that is in may ask once more, where the answer was lost. */
const REPEAT_MS = 86_400_000;

export interface EnrollOptions extends DeviceIdentityOptions, EnrollRegistrationOptions {
  readonly monotonicMs: () => number;
}

/**
 * Gives a device its identity. Each call, let in, told to wait or refused, is in the audit trail before its promise
 * settles; of refusals some a minute, and of answers that come again.
 * @throws FleetgateError `enrollment_credential_invalid`, `enrollment_expired`, `enrollment_exhausted`,
 *   `enrollment_revoked`, `enrollment_refused`, `enrollment_conflict`, `invalid_request`, `slow_down`,
 *   `temporarily_unavailable`
 */
export function enroller(options: EnrollOptions): (call: EnrollCall) => Promise<Enrolled> {
  const { registry, registrations, now, monotonicMs } = options;
  const { openedBy, knownBy } = deviceIdentity(options);
  const registrationOf = enrollRegistration(options);
  const attempts = createAttemptRate({ monotonicMs });
  const isRefusalDue = limitRecords();
  const isRepeatDue = limitRecords();

  async function serve(call: EnrollCall, opened: Opened): Promise<Enrolled> {
    const known = await knownBy(call, opened);
    const { enrollment } = opened;
    const before = await registry.findRequestOfDevice(enrollment.id, known.deviceHash);
    return before === undefined ? admitNew(call, opened, known) : admitAgain(call, opened, before, known);
  }

  /** @param renews whether it is of a group, was in before, and is to get new credentials */
  async function admitNew(call: EnrollCall, opened: Opened, known: Known, renews = false): Promise<Enrolled> {
    const { enrollment } = opened;
    const closed = closedReason(enrollment, now());
    if (closed !== undefined) throw new FleetgateError(closed, closedWords[closed]);
    if (enrollment.maxUses !== undefined && enrollment.uses >= enrollment.maxUses) throw exhausted();
    const { registration, templateVersion } = await registrationOf(call, opened);
    const isApproved =
      !enrollment.needsApproval || (await registry.isAllowed(enrollment.id, registration.clientId));
    const atMs = now();
    const request: EnrollmentRequestRecord = {
      id: randomUUID(),
      enrollmentId: enrollment.id,
      deviceHash: known.deviceHash,
      state: isApproved ? 'enrolled' : 'pending',
      clientId: registration.clientId,
      templateVersion,
      registration,
      salt: randomBytes(32),
      reason: undefined,
      createdAtMs: atMs,
      updatedAtMs: atMs,
    };
    // Also of one that waits: what cannot be registered is told at once.
    const made = makeOf(request, enrollment, known);
    const done = eventOf(call, enrollment, request.clientId, isApproved ? 'ok' : 'pending');
    const admission = isApproved ? admissionOf(call, enrollment, made) : undefined;
    const recorded = await registry.recordRequest(request, admission, done, renews);
    if (recorded.outcome === 'known') {
      const again = await registry.findRequestOfDevice(enrollment.id, known.deviceHash);
      if (again !== undefined) return admitAgain(call, opened, again, known);
    }
    expectRecorded(recorded);
    return isApproved
      ? { status: 'enrolled', client: made.client, shown: made.shown }
      : { status: 'pending', clientId: request.clientId };
  }

  async function admitAgain(
    call: EnrollCall,
    opened: Opened,
    request: EnrollmentRequestRecord,
    known: Known,
  ): Promise<Enrolled> {
    const { clientId } = request;
    const { enrollment } = opened;
    if (request.state !== 'enrolled' && !isSameKey(request, known)) {
      throw new FleetgateError('enrollment_conflict', 'the device waits already, with another key');
    }
    switch (request.state) {
      case 'pending':
        if (enrollment.revokedAtMs !== undefined)
          throw new FleetgateError('enrollment_revoked', closedWords.enrollment_revoked);
        if (!(await registry.isAllowed(enrollment.id, clientId))) return { status: 'pending', clientId };
        // It was allowed since it came.
        await registry.decideRequest(
          request.id,
          ['pending'],
          { state: 'approved' },
          { ...eventOf(call, enrollment, clientId, 'ok'), action: 'enrollment.approve' },
        );
        break;
      case 'rejected':
        throw refused(request.reason);
      case 'enrolled': {
        const shown = isSameKey(request, known) ? await shownAgain(enrollment, request, known) : undefined;
        if (shown !== undefined) {
          if (isRepeatDue(now())) await registry.recordEvent(eventOf(call, enrollment, clientId, 'repeated'));
          return shown;
        }
        if (opened.group !== undefined && enrollment.replaces) return admitNew(call, opened, known, true);
        throw exhausted();
      }
    }
    const made = makeOf(request, enrollment, known);
    expectRecorded(
      await registry.admitRequest(
        request.id,
        admissionOf(call, enrollment, made),
        eventOf(call, enrollment, clientId, 'ok'),
      ),
    );
    return { status: 'enrolled', client: made.client, shown: made.shown };
  }

  /** The answer that was lost; unset when it is too late for that, or says no longer what is. */
  async function shownAgain(
    enrollment: EnrollmentRecord,
    request: EnrollmentRequestRecord,
    known: Known,
  ): Promise<Enrolled | undefined> {
    if (now() - request.updatedAtMs >= REPEAT_MS) return undefined;
    const client = await registry.findClient(request.clientId);
    const made = makeOf(request, enrollment, known);
    const [secret] = made.client.secrets;
    const isThere =
      client !== undefined &&
      (secret === undefined
        ? JSON.stringify(client.jwks) === JSON.stringify(made.client.jwks)
        : client.secrets.some(
            (one) => Buffer.compare(one.hash, secret.hash) === 0 && isLiveSecret(one, now()),
          ));
    return isThere ? { status: 'enrolled', client: made.client, shown: made.shown } : undefined;
  }

  function makeOf(
    { id, registration, salt, templateVersion, createdAtMs }: EnrollmentRequestRecord,
    enrollment: EnrollmentRecord,
    { secret }: Known,
  ): RegisteredClient {
    const key = createHmac('sha256', salt).update(secret).digest();
    const { secretExpiresAtMs: end } = registration;
    // Its lifetime begins when the device gets it, however long it waited.
    const secretExpiresAtMs = end === undefined ? undefined : now() + end - createdAtMs;
    const asked = { ...registration, secretExpiresAtMs };
    const made = makeClient(asked, registrations, now(), derivedRandom(key, id));
    const origin = { template: enrollment.template, templateVersion, enrollment: enrollment.id };
    return { ...made, client: { ...made.client, origin } };
  }

  function admissionOf(
    call: EnrollCall,
    enrollment: EnrollmentRecord,
    { client }: RegisteredClient,
  ): Admission {
    const created = { ...eventOf(call, enrollment, client.clientId, 'ok'), action: 'client.create' as const };
    const atSeconds = Math.floor(created.atMs / 1000);
    return {
      client,
      revocation: expiring({ kind: 'client' as const, clientId: client.clientId, atSeconds }, atSeconds),
      events: { created, replaced: { ...created, action: 'client.update' } },
    };
  }

  function eventOf(
    { caller }: EnrollCall,
    enrollment: EnrollmentRecord | undefined,
    target: string | undefined,
    result: string,
  ): AuditEvent {
    const actor = enrollment === undefined ? anonymousActor : enrollmentActor(enrollment.id);
    return auditEvent({ atMs: now(), actor, action: 'device.enroll', caller, target, result });
  }

  return async (call) => {
    const from = call.caller.address === undefined ? undefined : addressKey(call.caller.address);
    const waitMs = attempts.waitMs(from, undefined);
    if (waitMs > 0) throw new SlowDownError(waitMs);
    let opened: Opened | undefined;
    try {
      opened = await openedBy(call);
      return await serve(call, opened);
    } catch (error) {
      if (!(error instanceof FleetgateError) || error.code === 'registry_unavailable') throw error;
      attempts.note(from, undefined, false);
      if (isRefusalDue(now())) {
        await registry.recordEvent(eventOf(call, opened?.enrollment, opened?.enrollment.id, error.code));
      }
      throw error;
    }
  };
}
