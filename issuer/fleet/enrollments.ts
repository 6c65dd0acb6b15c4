import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { FleetgateError, isIdentifier, OAuthError } from '@fleetgate/shared';
import { administrativeActs } from '../administrative-act.ts';
import { checkText, type RegistrationSettings } from '../client-registration.ts';
import type { Administrator } from '../clients.ts';
import type { KeyEncryption } from '../keys/key-encryption.ts';
import type {
  EnrollmentRecord,
  EnrollmentRequestRecord,
  RequestState,
} from '../registry/enrollment-registry.ts';
import type { JsonObject, Registry } from '../registry/registry.ts';
import { claimCodeHash, makeClaimCode } from './claim-code.ts';
import { type CompiledTemplate, compileTemplate } from './template.ts';
import type { Templates } from './templates.ts';

/** Client ids that one request may allow. */
export const MAX_ALLOWED_AT_ONCE = 1000;

const GROUP_KEY_BYTES = 32;
const MAX_ROW_LENGTH = 8192;
const MAX_REASON_LENGTH = 256;
const MAX_LIFETIME_MS = 10 * 366 * 86_400_000;

/** What is asked of an enrollment. */
export interface EnrollmentRequest {
  readonly kind: 'claim_code' | 'group_key';
  readonly template: string;
  /** Values that a device cannot say otherwise, as a row of a job. Default: none. */
  readonly row?: JsonObject | undefined;
  /** Devices that may come. Default: one with a claim code, any number with a group key. */
  readonly maxUses?: number | undefined;
  /** Default: no end. */
  readonly expiresAtMs?: number | undefined;
  readonly needsApproval?: boolean | undefined;
  readonly replaces?: boolean | undefined;
}

/** What opens an enrollment, shown once. Keys in base64. */
export type EnrollmentCredential =
  | { readonly claimCode: string }
  | { readonly primaryKey: string; readonly secondaryKey: string };

/** The administrative acts on enrollments. Each, done or refused, is in the audit trail before its promise settles. */
export interface Enrollments {
  /** @throws FleetgateError `template_unknown`, `invalid_request` */
  create(
    request: EnrollmentRequest,
    by: Administrator,
  ): Promise<{ readonly enrollment: EnrollmentRecord; readonly credential: EnrollmentCredential }>;
  /** @throws FleetgateError `enrollment_unknown` */
  find(id: string): Promise<EnrollmentRecord>;
  /** From new to old. */
  list(page: { readonly before?: string | undefined; readonly limit: number }): Promise<EnrollmentRecord[]>;
  /** Nobody gets in by it any more; who is in stays. @throws FleetgateError `enrollment_unknown` */
  revoke(id: string, by: Administrator): Promise<EnrollmentRecord>;
  /**
   * Makes another primary or secondary key; devices with keys from the other go on.
   * @throws FleetgateError `enrollment_unknown`, `enrollment_conflict` for one by a claim code
   */
  rollKey(id: string, which: 'primary' | 'secondary', by: Administrator): Promise<string>;
  /** Lets devices of these client ids in without approval. @throws FleetgateError `enrollment_unknown`, `invalid_request` */
  allow(id: string, clientIds: readonly string[], by: Administrator): Promise<void>;
  /** From old to new. */
  requests(page: {
    readonly state?: RequestState | undefined;
    readonly enrollmentId?: string | undefined;
    readonly after?: string | undefined;
    readonly limit: number;
  }): Promise<EnrollmentRequestRecord[]>;
  /** The device gets its credentials when it asks next. @throws FleetgateError `enrollment_unknown`, `enrollment_conflict` */
  approve(requestId: string, by: Administrator): Promise<EnrollmentRequestRecord>;
  /** @throws FleetgateError `enrollment_unknown`, `enrollment_conflict` when it is in already */
  reject(requestId: string, reason: string, by: Administrator): Promise<EnrollmentRequestRecord>;
}

/** What binds a ciphertext to its place. */
export const groupKeyLabel = (id: string, which: 'primary' | 'secondary') => `enrollment ${id} ${which}`;

export function openEnrollments(
  registry: Registry,
  templates: Templates,
  encryption: KeyEncryption,
  now: () => number,
  settings: RegistrationSettings,
): Enrollments {
  const { event, recorded } = administrativeActs(registry, now);

  async function find(id: string): Promise<EnrollmentRecord> {
    const found = await registry.findEnrollment(id);
    if (found === undefined) throw new FleetgateError('enrollment_unknown', 'there is no such enrollment');
    return found;
  }

  async function findRequest(id: string): Promise<EnrollmentRequestRecord> {
    const found = await registry.findRequest(id);
    if (found === undefined) throw new FleetgateError('enrollment_unknown', 'there is no such request');
    return found;
  }

  function makeKey(id: string, which: 'primary' | 'secondary') {
    const key = randomBytes(GROUP_KEY_BYTES).toString('base64');
    return { key, encrypted: encryption.encrypt(key, groupKeyLabel(id, which)) };
  }

  async function decide(
    requestId: string,
    action: 'enrollment.approve' | 'enrollment.reject',
    from: readonly RequestState[],
    to: { readonly state: 'approved' | 'rejected'; readonly reason?: string },
    by: Administrator,
  ): Promise<EnrollmentRequestRecord> {
    const { clientId, state } = await findRequest(requestId);
    const done = event(by, action, clientId);
    if (!(await registry.decideRequest(requestId, from, to, done)) && state !== to.state) {
      throw new FleetgateError('enrollment_conflict', `the request is ${state}`);
    }
    return findRequest(requestId);
  }

  return {
    create: (request, by) =>
      recorded('enrollment.create', undefined, by, async () => {
        const { kind, template, row = {}, expiresAtMs } = request;
        const atMs = now();
        checkRequest(request, atMs);
        const compiled = compileTemplate((await templates.find(template)).template, settings);
        const id = randomUUID();
        const code = kind === 'claim_code' ? makeClaimCode() : undefined;
        const [primary, secondary] = [makeKey(id, 'primary'), makeKey(id, 'secondary')];
        const enrollment: EnrollmentRecord = {
          id,
          codeHash: code === undefined ? undefined : claimCodeHash(code),
          groupKeys:
            code === undefined ? { primary: primary.encrypted, secondary: secondary.encrypted } : undefined,
          template,
          row,
          maxUses: request.maxUses ?? (code === undefined ? undefined : 1),
          uses: 0,
          expiresAtMs,
          needsApproval: request.needsApproval ?? false,
          replaces: request.replaces ?? false,
          revokedAtMs: undefined,
          createdBy: by.keyName,
          createdAtMs: atMs,
        };
        checkPlaces(compiled, enrollment);
        await registry.createEnrollment(enrollment, event(by, 'enrollment.create', id));
        const credential =
          code === undefined ? { primaryKey: primary.key, secondaryKey: secondary.key } : { claimCode: code };
        return { enrollment, credential };
      }),
    find,
    list: (page) => registry.listEnrollments(page),
    revoke: (id, by) =>
      recorded('enrollment.revoke', id, by, async () => {
        await find(id);
        await registry.revokeEnrollment(id, event(by, 'enrollment.revoke', id));
        return find(id);
      }),
    rollKey: (id, which, by) =>
      recorded('enrollment.roll_key', id, by, async () => {
        const { groupKeys } = await find(id);
        if (groupKeys === undefined) {
          throw new FleetgateError(
            'enrollment_conflict',
            'this enrollment is by a claim code, and has no keys',
          );
        }
        const { key, encrypted } = makeKey(id, which);
        const done = event(by, 'enrollment.roll_key', id);
        // The other one alone: it may be rolled at the same time.
        await registry.setGroupKeys(id, { [which]: encrypted }, done);
        return key;
      }),
    allow: (id, clientIds, by) =>
      recorded('enrollment.allow', id, by, async () => {
        if (clientIds.length > MAX_ALLOWED_AT_ONCE)
          invalid(`at most ${MAX_ALLOWED_AT_ONCE} client ids at once`);
        if (!clientIds.every(isIdentifier)) invalid('a client id must match [A-Za-z0-9._-]{1,64}');
        await find(id);
        await registry.allowClients(id, clientIds, event(by, 'enrollment.allow', id));
      }),
    requests: (page) => registry.listRequests(page),
    approve: (requestId, by) =>
      recorded('enrollment.approve', requestId, by, () =>
        decide(requestId, 'enrollment.approve', ['pending', 'rejected'], { state: 'approved' }, by),
      ),
    reject: (requestId, reason, by) =>
      recorded('enrollment.reject', requestId, by, () => {
        checkText('reason', reason, MAX_REASON_LENGTH);
        return decide(
          requestId,
          'enrollment.reject',
          ['pending', 'approved'],
          { state: 'rejected', reason },
          by,
        );
      }),
  };
}

/** Whether an enrollment lets nobody in any more, and why. */
export function closedReason(
  { revokedAtMs, expiresAtMs }: EnrollmentRecord,
  atMs: number,
): 'enrollment_revoked' | 'enrollment_expired' | undefined {
  if (revokedAtMs !== undefined) return 'enrollment_revoked';
  return expiresAtMs !== undefined && expiresAtMs <= atMs ? 'enrollment_expired' : undefined;
}

function checkRequest({ row = {}, maxUses = 1, expiresAtMs }: EnrollmentRequest, atMs: number): void {
  if (!(Number.isSafeInteger(maxUses) && maxUses >= 1)) invalid('max_uses must be a whole number from 1');
  if (expiresAtMs !== undefined && !(expiresAtMs > atMs && expiresAtMs <= atMs + MAX_LIFETIME_MS)) {
    invalid('expires_at must lie in the future, by ten years at most');
  }
  if (JSON.stringify(row).length > MAX_ROW_LENGTH) {
    invalid(`device must be at most ${MAX_ROW_LENGTH} characters of JSON`);
  }
}

/**
 * What a template makes ids and groups of must not be a device's to choose: it would come as another one, or be in the
 * scope of a group that is not its own. With a claim code it may say its id, where it takes over none that is there.
 * @throws OAuthError `invalid_request`
 */
export function checkPlaces(
  { idNames, groupNames }: Pick<CompiledTemplate, 'idNames' | 'groupNames'>,
  { codeHash, replaces, row }: Pick<EnrollmentRecord, 'codeHash' | 'replaces' | 'row'>,
): void {
  const isByGroupKey = codeHash === undefined;
  // An empty one is as none.
  const isSaid = (name: string) => Object.hasOwn(row, name) && row[name] !== '' && row[name] !== null;
  const openOf = (names: readonly string[]) =>
    names.filter((name) => !isSaid(name) && name !== 'uuid' && !(isByGroupKey && name === 'registration_id'));
  if (idNames.includes('n')) {
    invalid(
      'the template numbers its devices by {n}, and devices that enroll come in no order; take another place',
    );
  }
  const openOfId = isSaid('client_id') ? [] : openOf(idNames);
  if (isByGroupKey && (isSaid('client_id') || !idNames.includes('registration_id'))) {
    invalid(
      'the id of a template for a group key must hold {registration_id}, which is what a device proves',
    );
  }
  if (isByGroupKey && openOfId.length > 0) {
    invalid(`a device could come as another: give ${openOfId.join(', ')} in device`);
  }
  if (replaces && openOfId.length > 0) {
    invalid(`a claim code that replaces must say whose: give ${openOfId.join(', ')} in device`);
  }
  if (isSaid('group')) return;
  const openOfGroup = groupNames.flatMap((name) => (name === 'client_id' ? openOfId : openOf([name])));
  if (openOfGroup.length === 0) return;
  invalid(`a device could choose its group: give ${openOfGroup.join(', ')} in device`);
}

/** SHA-256 of what a device is known by when it comes again. */
export const deviceHashOf = (kind: 'nonce' | 'key' | 'registration', value: string) =>
  createHash('sha256').update(`${kind} ${value}`).digest();

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
