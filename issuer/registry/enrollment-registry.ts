import type { AuditEvent } from '../audit.ts';
import type { ClientRegistration } from '../client-registration.ts';
import type { NewRevocation } from '../revocation.ts';
import type { JsonObject, NewClientRecord } from './registry.ts';

/** Two keys, so that one can be replaced while devices go on with the other. Encrypted. */
export interface GroupKeys {
  readonly primary: Uint8Array;
  readonly secondary: Uint8Array;
}

/** A way by which devices get an identity. */
export interface EnrollmentRecord {
  readonly id: string;
  /** SHA-256 of the claim code; unset for one by a group key. */
  readonly codeHash: Uint8Array | undefined;
  readonly groupKeys: GroupKeys | undefined;
  readonly template: string;
  /** Values that go before what a device says of itself, as a row of a job has them. */
  readonly row: JsonObject;
  /** Unset: no limit. */
  readonly maxUses: number | undefined;
  readonly uses: number;
  readonly expiresAtMs: number | undefined;
  /** Whether a device waits until it is approved, unless its client id is allowed. */
  readonly needsApproval: boolean;
  /** Whether a client that the template made gets new credentials when its device comes again. */
  readonly replaces: boolean;
  readonly revokedAtMs: number | undefined;
  readonly createdBy: string;
  readonly createdAtMs: number;
}

export type RequestState = 'pending' | 'approved' | 'rejected' | 'enrolled';

/** A device that came to an enrollment. */
export interface EnrollmentRequestRecord {
  readonly id: string;
  readonly enrollmentId: string;
  /** SHA-256 of what the device is known by when it comes again. */
  readonly deviceHash: Uint8Array;
  readonly state: RequestState;
  readonly clientId: string;
  readonly templateVersion: number;
  /** What is to be registered. */
  readonly registration: ClientRegistration & { readonly clientId: string };
  /** What its secret is derived from, together with what the device alone knows. */
  readonly salt: Uint8Array;
  /** Why it was rejected. */
  readonly reason: string | undefined;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** What a request makes when it is let in. */
export interface Admission {
  readonly client: NewClientRecord;
  /** Of the client that is there already, if there is one and it may be replaced. */
  readonly revocation: NewRevocation & { readonly kind: 'client' };
  /** Of a client that is new, and of one that is given new credentials. */
  readonly events: { readonly created: AuditEvent; readonly replaced: AuditEvent };
}

/** What became of a request. Whatever but `recorded` means that nothing was written. */
export type RequestRecorded =
  | { readonly outcome: 'recorded' }
  /** The device has come before. */
  | { readonly outcome: 'known' }
  | { readonly outcome: 'exhausted' }
  /** Revoked, expired or unknown. */
  | { readonly outcome: 'closed' }
  /** The client id is that of another client, or of one in quarantine. */
  | { readonly outcome: 'conflict' };

/** What the registry keeps of enrollments. As to durability see `Registry`. */
export interface EnrollmentRegistry {
  createEnrollment(enrollment: EnrollmentRecord, event: AuditEvent): Promise<void>;
  findEnrollment(id: string): Promise<EnrollmentRecord | undefined>;
  /** The one with group keys whose id begins so; unset where several do. */
  findEnrollmentStarting(idStart: string): Promise<EnrollmentRecord | undefined>;
  findEnrollmentByCode(codeHash: Uint8Array): Promise<EnrollmentRecord | undefined>;
  /** From new to old; those older than `before`. */
  listEnrollments(page: {
    readonly before?: string | undefined;
    readonly limit: number;
  }): Promise<EnrollmentRecord[]>;
  /** Devices that wait wait for ever. Whether it was open; `false` with nothing written. */
  revokeEnrollment(id: string, event: AuditEvent): Promise<boolean>;
  /** `false`, with nothing written, where there is no such enrollment with keys. */
  setGroupKeys(id: string, keys: Partial<GroupKeys>, event: AuditEvent): Promise<boolean>;
  /** Enrollments with group keys ordered by id, those behind `after`. */
  listGroupKeys(page: {
    readonly after: string;
    readonly limit: number;
  }): Promise<{ readonly id: string; readonly groupKeys: GroupKeys }[]>;
  /** Client ids that need no approval, beside those there are. */
  allowClients(id: string, clientIds: readonly string[], event: AuditEvent): Promise<boolean>;
  isAllowed(id: string, clientId: string): Promise<boolean>;
  findRequestOfDevice(
    enrollmentId: string,
    deviceHash: Uint8Array,
  ): Promise<EnrollmentRequestRecord | undefined>;
  findRequest(id: string): Promise<EnrollmentRequestRecord | undefined>;
  /** From old to new; those newer than `after`. */
  listRequests(page: {
    readonly state?: RequestState | undefined;
    readonly enrollmentId?: string | undefined;
    readonly after?: string | undefined;
    readonly limit: number;
  }): Promise<EnrollmentRequestRecord[]>;
  /**
   * A use of the enrollment: the device waits, or is let in at once. With `renews` in place of the request that it came
   * with before.
   */
  recordRequest(
    request: EnrollmentRequestRecord,
    admission: Admission | undefined,
    event: AuditEvent,
    renews: boolean,
  ): Promise<RequestRecorded>;
  /** Lets a device in that was approved. */
  admitRequest(id: string, admission: Admission, event: AuditEvent): Promise<RequestRecorded>;
  /** Whether it was in one of the states `from`; `false` with nothing written. */
  decideRequest(
    id: string,
    from: readonly RequestState[],
    to: { readonly state: 'approved' | 'rejected'; readonly reason?: string | undefined },
    event: AuditEvent,
  ): Promise<boolean>;
}
