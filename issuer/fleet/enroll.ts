import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { addressKey, createAttemptRate, FleetgateError, isIdentifier, OAuthError } from '@fleetgate/shared';
import { type AuditEvent, anonymousActor, auditEvent, type Caller, enrollmentActor } from '../audit.ts';
import { DEFAULT_AUTH_METHOD } from '../client-auth/methods.ts';
import type { ShownCredential } from '../client-credential.ts';
import {
  type ClientRegistration,
  type ClientsOptions,
  makeClient,
  type RegisteredClient,
} from '../clients.ts';
import type { KeyEncryption } from '../keys/key-encryption.ts';
import { SlowDownError } from '../limited-requests.ts';
import { limitRecords } from '../record-limit.ts';
import type {
  Admission,
  EnrollmentRecord,
  EnrollmentRequestRecord,
  RequestRecorded,
} from '../registry/enrollment-registry.ts';
import type { JsonObject, NewClientRecord, Registry } from '../registry/registry.ts';
import { expiring } from '../revocation.ts';
import { isLiveSecret } from '../secrets.ts';
import { claimCodeHash } from './claim-code.ts';
import { derivedRandom } from './derived-random.ts';
import { readRow } from './device-row.ts';
import type { EnrollmentHook, HookAnswer } from './enrollment-hook.ts';
import { checkGroupProof, checkKeyProof, fingerprintOf, subjectOfCode } from './enrollment-proof.ts';
import { checkPlaces, closedReason, deviceHashOf, groupKeyLabel } from './enrollments.ts';
import { compileTemplate } from './template.ts';
import type { Templates } from './templates.ts';

/** A device that has proven the key that was derived for it, by an OSCORE context. */
export interface ProvenDevice {
  readonly enrollmentId: string;
  readonly registrationId: string;
  readonly deviceKey: Uint8Array;
}

/** What a device says to get its identity. */
export interface EnrollCall {
  /** In place of all that opens an enrollment, and of the nonce; it gets a context in turn. */
  readonly proven?: ProvenDevice | undefined;
  readonly claimCode?: string | undefined;
  /** Id of an enrollment by a group key, with the proof of {@link checkGroupProof}. */
  readonly enrollmentId?: string | undefined;
  readonly groupProof?: string | undefined;
  /** What it says of itself, for the places of the template. */
  readonly device: JsonObject;
  /** Its public key, of `private_key_jwt`, with the proof of {@link checkKeyProof}. */
  readonly publicJwk?: unknown;
  readonly keyProof?: string | undefined;
  /**
   * With a claim code: 32 random bytes, base64url, that the device keeps until it is in. It is known by them when it comes
   * again, and its secret is made of them. Not needed with a key of its own.
   */
  readonly nonce?: string | undefined;
  readonly caller: Caller;
}

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

/** What a device cannot say of itself: it would be in a group, or under an id, of its own choice. */
const notOfDevices = ['client_id', 'name', 'group', 'labels', 'jwks', 'public_jwk', 'registration_id'];

export interface EnrollOptions {
  readonly registry: Registry;
  readonly templates: Templates;
  readonly encryption: KeyEncryption;
  readonly registrations: ClientsOptions;
  readonly issuerUrl: () => string;
  readonly hook: EnrollmentHook | undefined;
  readonly now: () => number;
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
  const { registry, templates, encryption, registrations, issuerUrl, hook, now, monotonicMs } = options;
  const attempts = createAttemptRate({ monotonicMs });
  const isRefusalDue = limitRecords();
  const isRepeatDue = limitRecords();

  /** Who lets it in, and whether it may knock there. */
  async function openedBy({ claimCode, enrollmentId, groupProof, proven }: EnrollCall): Promise<Opened> {
    if (proven !== undefined) {
      const { registrationId } = proven;
      const enrollment = await registry.findEnrollment(proven.enrollmentId);
      if (enrollment === undefined) return refuseCredential('there is no such enrollment');
      return { enrollment, subject: registrationId, group: proven };
    }
    if ((claimCode === undefined) === (enrollmentId === undefined)) {
      return invalid('give a claim_code, or an enrollment with the proof of its group key');
    }
    if (claimCode !== undefined) {
      const codeHash = claimCodeHash(claimCode);
      const enrollment = codeHash && (await registry.findEnrollmentByCode(codeHash));
      if (enrollment === undefined) return refuseCredential('no enrollment has this claim code');
      return { enrollment, subject: subjectOfCode(codeHash as Uint8Array), group: undefined };
    }
    const enrollment = await registry.findEnrollment(enrollmentId ?? '');
    const keys = enrollment?.groupKeys;
    if (enrollment === undefined || keys === undefined || groupProof === undefined) {
      return refuseCredential('no enrollment of this id has a group key, or the proof is missing');
    }
    const groupKeys = (['primary', 'secondary'] as const).map((which) =>
      Buffer.from(encryption.decrypt(keys[which], groupKeyLabel(enrollment.id, which)), 'base64'),
    );
    const { used, ...group } = checkGroupProof(groupProof, groupKeys, { issuerUrl, now });
    if (!(await registry.useAssertion(used, now() / 1000)))
      return refuseCredential('the proof was used before');
    return { enrollment, subject: group.registrationId, group };
  }

  /** What it is known by when it comes again: of a group its registration id, whatever else it brings. */
  async function knownBy(call: EnrollCall, { subject, group }: Opened): Promise<Known> {
    const fingerprint = call.publicJwk === undefined ? undefined : await provenKey(call, subject);
    if (group !== undefined) {
      const secret = Buffer.from(group.deviceKey).toString('base64url');
      return { deviceHash: deviceHashOf('registration', group.registrationId), secret, fingerprint };
    }
    if (fingerprint !== undefined) {
      return { deviceHash: deviceHashOf('key', fingerprint), secret: '', fingerprint };
    }
    if (call.nonce === undefined || !/^[A-Za-z0-9_-]{43}$/.test(call.nonce)) {
      return invalid('give nonce, 32 random bytes as base64url, or public_jwk with its proof');
    }
    return { deviceHash: deviceHashOf('nonce', call.nonce), secret: call.nonce, fingerprint: undefined };
  }

  async function provenKey({ publicJwk, keyProof = '' }: EnrollCall, subject: string): Promise<string> {
    const { fingerprint, used } = await checkKeyProof(keyProof, publicJwk, subject, { issuerUrl, now });
    if (await registry.useAssertion(used, now() / 1000)) return fingerprint;
    return refuseCredential('the proof was used before');
  }

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

  async function registrationOf(call: EnrollCall, { enrollment, group }: Opened) {
    const { template, version: templateVersion } = await templates.find(enrollment.template);
    const compiled = compileTemplate(template, registrations);
    // The template may have changed since the enrollment was made.
    checkPlaces(compiled, enrollment);
    const said = checkSaid(call.device);
    const row = readRow({
      ...said,
      ...enrollment.row,
      ...(group !== undefined && { registration_id: group.registrationId }),
    });
    if ('unreadable' in row) return invalid(row.unreadable);
    const filled = compiled.fill(row, { number: 0, uuid: randomUUID }, now());
    if (call.proven !== undefined && filled.authMethod !== 'oscore') {
      invalid('over CoAP a device gets an OSCORE context, and the template has another auth_method');
    }
    const needsKey = filled.authMethod === 'private_key_jwt';
    if (needsKey !== (call.publicJwk !== undefined)) {
      invalid(
        needsKey ? 'the device is to bring public_jwk, with its proof' : 'public_jwk is of no use here',
      );
    }
    const asked = { ...filled, ...(needsKey && { jwks: { keys: [call.publicJwk] } }) };
    const answer = await hook?.({
      enrollment_id: enrollment.id,
      template: enrollment.template,
      client_id: asked.clientId,
      name: asked.name,
      group: asked.group,
      labels: asked.labels ?? {},
      device: said,
      address: call.caller.address,
    });
    return { registration: amended(asked, answer), templateVersion };
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

interface Opened {
  readonly enrollment: EnrollmentRecord;
  /** What a proof by its key is to say. */
  readonly subject: string;
  /** Of one by a group key: who has proven to be which of its devices. */
  readonly group: Pick<ProvenDevice, 'registrationId' | 'deviceKey'> | undefined;
}

interface Known {
  readonly deviceHash: Uint8Array;
  /** What its secret is derived from; empty for one with a key of its own. */
  readonly secret: string;
  /** Of the key it brings. */
  readonly fingerprint: string | undefined;
}

function isSameKey({ registration }: EnrollmentRequestRecord, { fingerprint }: Known): boolean {
  const [before] = (registration.jwks as { keys?: readonly unknown[] } | undefined)?.keys ?? [];
  return (before === undefined ? undefined : fingerprintOf(before)) === fingerprint;
}

const closedWords = {
  enrollment_revoked: 'the enrollment has been revoked; ask for another',
  enrollment_expired: 'the enrollment has expired; ask for another',
} as const;

function checkSaid(device: JsonObject): JsonObject {
  const wrong = Object.keys(device).find((name) => notOfDevices.includes(name) || name.startsWith('labels.'));
  if (wrong !== undefined) invalid(`a device cannot say its ${wrong.slice(0, 64)}; the enrollment does`);
  return device;
}

function amended(
  asked: ClientRegistration & { readonly clientId: string },
  answer: HookAnswer | undefined,
): ClientRegistration & { readonly clientId: string } {
  if (answer === undefined) return { ...asked, authMethod: asked.authMethod ?? DEFAULT_AUTH_METHOD };
  if (!answer.allow) throw refused(answer.reason);
  const { name = asked.name, group = asked.group, labels } = answer;
  if (group !== undefined && !isIdentifier(group))
    invalid('the group it was given must match [A-Za-z0-9._-]{1,64}');
  return { ...asked, name, group, labels: { ...asked.labels, ...labels } };
}

function expectRecorded({ outcome }: RequestRecorded): void {
  switch (outcome) {
    case 'recorded':
      return;
    case 'exhausted':
      throw exhausted();
    case 'closed':
      throw new FleetgateError('enrollment_revoked', closedWords.enrollment_revoked);
    case 'known':
    case 'conflict':
      throw new FleetgateError(
        'enrollment_conflict',
        'a client of this id is registered already; delete it, or let the enrollment replace credentials',
      );
  }
}

const exhausted = () =>
  new FleetgateError(
    'enrollment_exhausted',
    'the claim code has been used as often as it may be; ask for another',
  );

const refused = (reason: string | undefined) =>
  new FleetgateError(
    'enrollment_refused',
    reason === undefined || reason === ''
      ? 'the device was refused'
      : `the device was refused: ${reason.slice(0, 200)}`,
  );

function refuseCredential(message: string): never {
  throw new FleetgateError('enrollment_credential_invalid', message);
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
