import type { AuditEvent } from '../audit.ts';
import type { Role } from '../roles.ts';

/** An API key, as the registry keeps it. Times in milliseconds since 1970. */
export interface ApiKeyRecord {
  readonly name: string;
  readonly role: Role;
  /** SHA-256 of the key. */
  readonly hash: Uint8Array;
  /** The key it replaced, while that is still taken. */
  readonly previous: { readonly hash: Uint8Array; readonly untilMs: number } | undefined;
  readonly createdAtMs: number;
  /** When the key was made: with the name, or by the last rotation. */
  readonly rotatedAtMs: number;
  readonly expiresAtMs: number | undefined;
  readonly lastUsedAtMs: number | undefined;
}

/** API keys; see {@link Registry} for what holds for each act. */
export interface ApiKeyRegistry {
  /** Whatever but `created` means that nothing was written: the name is taken, or there are `maxKeys` already. */
  createApiKey(key: ApiKeyRecord, maxKeys: number, event: AuditEvent): Promise<'created' | 'taken' | 'full'>;
  /** Replaces a key by one of the same name. `false`, with nothing written, when there is none. */
  replaceApiKey(key: ApiKeyRecord, event: AuditEvent): Promise<boolean>;
  /** Whether there was such a key; `false` with nothing written. */
  deleteApiKey(name: string, event: AuditEvent): Promise<boolean>;
  /** The key with this hash, also as the previous one of its name. */
  findApiKeyByHash(hash: Uint8Array): Promise<ApiKeyRecord | undefined>;
  findApiKey(name: string): Promise<ApiKeyRecord | undefined>;
  /** Ordered by name. */
  listApiKeys(): Promise<ApiKeyRecord[]>;
  /** Remembers that a key was used; nothing when it is gone. Not in the audit: what it was used for is. */
  touchApiKey(name: string, atMs: number): Promise<void>;
}
