import type { AuditEvent } from '../audit.ts';
import type { AuditTrail } from '../audit-trail.ts';
import type { ClientAuthParameters } from '../client-auth/parameters.ts';
import type { NewRevocation, RecordedRevocation, RevocableToken } from '../revocation.ts';
import type { ClientSecret } from '../secrets.ts';
import type { ApiKeyRegistry } from './api-keys.ts';
import type { AssertionRegistry, UsedAssertion } from './assertions.ts';
import type { CampaignRegistry } from './campaign-registry.ts';
import type { ClientChangesRegistry, ClientFilter } from './client-changes.ts';
import type { EnrollmentRegistry } from './enrollment-registry.ts';
import type { FleetRegistry } from './fleet-registry.ts';
import type { SecretRegistry } from './secret-registry.ts';
import type { SigningKeyRegistry } from './signing-key-registry.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** A registered machine, as the registry keeps it. Times in milliseconds since 1970. */
export interface ClientRecord extends ClientAuthParameters {
  /** The registry's number of this registration. A client deleted and registered again gets another. */
  readonly registration: number;
  readonly clientId: string;
  readonly name: string | undefined;
  /** As registered: space-separated, direct scopes may hold `{client_id}` and `{group}`. */
  readonly scope: string;
  /** Empty when registered without one: the issuer's default applies. */
  readonly audience: readonly string[];
  readonly authMethod: string;
  readonly grantTypes: readonly string[];
  readonly group: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly metadata: JsonObject;
  /** Unset: the issuer's default applies. */
  readonly tokenLifetimeSeconds: number | undefined;
  /** From old to new, also such as have ended, at most two; see `issuer/secrets.ts`. */
  readonly secrets: readonly ClientSecret[];
  /** SuperTokens' fields that the client credentials grant does not use: kept and echoed. */
  readonly supertokens: JsonObject;
  /** How often it was changed; a change of its secrets counts. */
  readonly revision: number;
  /** Set while no token is issued to it, by an administrator's decision. */
  readonly quarantine: { readonly atMs: number; readonly reason: string } | undefined;
  /** What it was made by; unset when it was registered for itself. */
  readonly origin?: ClientOrigin | undefined;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** When a token was issued to it last, to the day (`LAST_USE_GRANULARITY_MS`). Unset: never. */
  readonly lastSeenAtMs?: number | undefined;
}

/** What made a client together with others. */
export interface ClientOrigin {
  readonly template: string;
  readonly templateVersion: number;
  /** The provisioning job, and the number of the row in it. No two clients are of one row. */
  readonly job?: { readonly id: string; readonly row: number } | undefined;
  /** The enrollment it came by. */
  readonly enrollment?: string | undefined;
}

export type NewClientRecord = Omit<ClientRecord, 'registration' | 'revision' | 'quarantine' | 'lastSeenAtMs'>;

/** What is recorded of a token beside its audit event. */
export interface IssuedToken {
  /** `iat`. */
  readonly issuedAtSeconds: number;
  /** The key it was signed with, which must be active. Unset: not looked at. */
  readonly keyId?: string | undefined;
  /** The assertion that proved the client, used by this token and by nothing else. */
  readonly assertion?: UsedAssertion | undefined;
}

/** What became of a token that was to be recorded. */
export type TokenRecorded =
  | { readonly outcome: 'recorded' }
  /** The registration has ended since it was read. */
  | { readonly outcome: 'registration_ended' }
  /** The client was changed since it was read, or put into quarantine. */
  | { readonly outcome: 'registration_changed' }
  /** The key it was signed with is active no longer. */
  | { readonly outcome: 'key_retired' }
  /** The assertion was used before. */
  | { readonly outcome: 'assertion_used' }
  /** A revocation that is recorded already would hit the token: no `iat` before this one will do. */
  | { readonly outcome: 'revoked_already'; readonly validFromSeconds: number };

/** What became of a revocation that was to be recorded. */
export type RevocationRecorded =
  | { readonly outcome: 'recorded'; readonly revocation: RecordedRevocation }
  /** One that takes back as much was there already. */
  | { readonly outcome: 'already'; readonly revocation: RecordedRevocation }
  | { readonly outcome: 'client_unknown' };

/** How busy a registry is. */
export interface RegistryLoad {
  /** Acts that wait for the next commit, at the moment. */
  readonly waitingActs: number;
  /** Since it was opened. */
  readonly commits: number;
  /** Acts that were in these commits. */
  readonly acts: number;
}

/** What there is in a registry, as far as it is cheap to count with a million clients. */
export interface RegistryCounts {
  /** Rows of the audit trail. */
  readonly auditEvents: number;
  /** Clients in quarantine, {@link MAX_COUNTED_CLIENTS} at most. */
  readonly quarantinedClients: number;
}

/** Clients that are counted at a time: a millisecond or two of the event loop. */
export const MAX_COUNTED_CLIENTS = 100_000;

/**
 * What the issuer remembers. One method is one act: all of it is durable when its promise resolves, together with its
 * audit event, or nothing is. The contract tests in `test/issuer/registry-contract.ts` hold for each implementation.
 *
 * Every method rejects with FleetgateError `registry_unavailable` when the store cannot be read or written.
 */
export interface Registry
  extends AuditTrail,
    ClientChangesRegistry,
    SecretRegistry,
    ApiKeyRegistry,
    AssertionRegistry,
    SigningKeyRegistry,
    FleetRegistry,
    CampaignRegistry,
    EnrollmentRegistry {
  /** Whether other processes, which this one does not hear, may serve the same clients, or did since it was opened. */
  isShared(): boolean;
  findClient(clientId: string): Promise<ClientRecord | undefined>;
  /** Clients ordered by id (by code unit), those after `after` if it is given. */
  listClients(page: {
    readonly after?: string;
    readonly limit: number;
    readonly filter?: ClientFilter;
  }): Promise<ClientRecord[]>;
  /** Whether it was registered; `false`, with nothing written, when the id is taken. */
  createClient(client: NewClientRecord, event: AuditEvent): Promise<boolean>;
  /**
   * Deletes the client and revokes its tokens; given `only`, if that is the record that is kept. Whether there was
   * such a client; `false` with nothing written.
   */
  deleteClient(
    revocation: NewRevocation & { kind: 'client' },
    event: AuditEvent,
    only?: Pick<ClientRecord, 'registration' | 'revision'>,
  ): Promise<boolean>;
  /**
   * Records that a token was issued to this registration. Whatever but `recorded` means that nothing was written: the
   * audit never shows a token issued after its client was deleted or put into quarantine, nor one that an earlier
   * revocation hits, nor one that a key signed which another process has retired, nor two by one assertion.
   */
  recordIssuedToken(client: ClientRecord, token: IssuedToken, event: AuditEvent): Promise<TokenRecorded>;
  /**
   * Records a revocation. Of a client it hits all tokens issued to it so far, also one whose `iat` lies ahead of
   * `atSeconds`. Whatever but `recorded` means that nothing was written. Keys are revoked by `changeSigningKeys`.
   */
  revoke(revocation: Exclude<NewRevocation, { kind: 'key' }>, event: AuditEvent): Promise<RevocationRecorded>;
  /**
   * Revocations that have not expired, in the order they were recorded: those after cursor `after`, or all where it
   * is not given or names none that is remembered.
   */
  listRevocations(page: {
    readonly after?: string | undefined;
    readonly nowSeconds: number;
    readonly limit: number;
  }): Promise<RecordedRevocation[]>;
  /** Whether a revocation hits this token. */
  isRevoked(token: RevocableToken): Promise<boolean>;
  /** A mark that each revocation changes, whichever process recorded it. */
  revocationMark(): Promise<number>;
  /**
   * Calls `listener` soon after another process has recorded a revocation, where the store can tell; what was missed is
   * found by looking. What it gives back ends it.
   */
  onOtherRevocations(listener: () => void): () => void;
  /** Forgets some of the revocations that have expired; how many. 0 when none is left. */
  pruneRevocations(nowSeconds: number): Promise<number>;
  counts(): Promise<RegistryCounts>;
  /** Answers also where the store does not. */
  load(): RegistryLoad;
  /** Whether the store can be read now and, where writing failed last, be written. Never rejects. */
  isAvailable(): Promise<boolean>;
  /** Finishes the acts that wait, then closes. Acts asked for later are rejected. */
  close(): Promise<void>;
}
