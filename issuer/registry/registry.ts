import type { SigningAlgorithm } from '@fleetgate/shared';
import type { AuditEvent, RecordedAuditEvent } from '../audit.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** A registered machine, as the registry keeps it. Times in milliseconds since 1970. */
export interface ClientRecord {
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
  /** SHA-256 of each live secret: one, or two while rotating. */
  readonly secretHashes: readonly Uint8Array[];
  /** SuperTokens' fields that the client credentials grant does not use: kept and echoed. */
  readonly supertokens: JsonObject;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export type NewClientRecord = Omit<ClientRecord, 'registration'>;

/** A signing key. The private half is encrypted before it comes here. */
export interface StoredSigningKey {
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  readonly publicJwk: JsonObject;
  readonly encryptedPrivateJwk: Uint8Array;
  /** At most one key is active; a retired one is still published. */
  readonly state: 'active' | 'retired';
  readonly createdAtMs: number;
}

/**
 * What the issuer remembers. One method is one act: all of it is durable when its promise resolves, together with its
 * audit event, or nothing is. The contract tests in `test/issuer/registry-contract.ts` hold for each implementation.
 *
 * Every method rejects with FleetgateError `registry_unavailable` when the store cannot be read or written.
 */
export interface Registry {
  findClient(clientId: string): Promise<ClientRecord | undefined>;
  /** Clients ordered by id (by code unit), those after `after` if it is given. */
  listClients(page: { readonly after?: string; readonly limit: number }): Promise<ClientRecord[]>;
  /** Whether it was registered; `false`, with nothing written, when the id is taken. */
  createClient(client: NewClientRecord, event: AuditEvent): Promise<boolean>;
  /** Whether there was such a client; `false` with nothing written. */
  deleteClient(clientId: string, event: AuditEvent): Promise<boolean>;
  /**
   * Records that a token was issued to this registration. `false`, with nothing written, when the registration has
   * ended since it was read: the audit never shows a token issued after its client was deleted.
   */
  recordIssuedToken(client: ClientRecord, event: AuditEvent): Promise<boolean>;
  /** Records an event that changes nothing else, such as a refusal. */
  recordEvent(event: AuditEvent): Promise<void>;
  /** Audit events in the order they were recorded, those after sequence number `after`. */
  listEvents(page: { readonly after?: number; readonly limit: number }): Promise<RecordedAuditEvent[]>;
  /** All published keys, the active one first, then from new to old. */
  signingKeys(): Promise<StoredSigningKey[]>;
  /**
   * Makes `key` the active one and retires the one before. `false`, with nothing written, when an active key of the
   * same algorithm is there already: of two processes that start at once, one key wins.
   */
  activateSigningKey(key: Omit<StoredSigningKey, 'state'>, event: AuditEvent): Promise<boolean>;
  /** Whether the store can be read now. Never rejects. */
  isReadable(): Promise<boolean>;
  /** Finishes the acts that wait, then closes. Acts asked for later are rejected. */
  close(): Promise<void>;
}
