import type { AuditEvent } from '../audit.ts';
import type { NewRevocation } from '../revocation.ts';
import type { ClientRecord, NewClientRecord } from './registry.ts';

/** Which clients a list holds: those that fit all that is set. */
export interface ClientFilter {
  readonly group?: string | undefined;
  /** The whole name. */
  readonly name?: string | undefined;
  readonly label?: { readonly name: string; readonly value: string } | undefined;
  readonly isQuarantined?: boolean | undefined;
}

/** A creation that is asked for again is not done again. */
export interface CreationKey {
  /** Whose key it is: the name of the API key. */
  readonly owner: string;
  /** SHA-256 of the key. */
  readonly keyHash: Uint8Array;
  /** SHA-256 of what was asked for. */
  readonly requestHash: Uint8Array;
  /** Keys that are older are forgotten. */
  readonly notBeforeMs: number;
}

/** What became of a client that was to be created under a {@link CreationKey}. */
export type ClientCreated =
  | { readonly outcome: 'created' }
  | { readonly outcome: 'conflict' }
  /** The same request came before; `client` is what it made, unset if that was deleted since. */
  | { readonly outcome: 'repeated'; readonly client: ClientRecord | undefined }
  /** Another request came with this key. */
  | { readonly outcome: 'key_reused' };

/** Acts on clients that are registered; see {@link Registry} for what holds for each. */
export interface ClientChangesRegistry {
  /** As `createClient`, once for each key. Whatever but `created` means that nothing was written. */
  createClientOnce(client: NewClientRecord, key: CreationKey, event: AuditEvent): Promise<ClientCreated>;
  /**
   * Replaces what is registered of `client`: not its id, secrets and quarantine. `false`, with nothing written, when
   * it is not the record that is kept: it was changed or deleted since it was read. With a revocation its tokens are
   * revoked as well.
   */
  updateClient(
    client: ClientRecord,
    event: AuditEvent,
    revocation?: NewRevocation & { kind: 'client' },
  ): Promise<boolean>;
  /**
   * Puts the client into quarantine and revokes its tokens; of one that is there already the reason is replaced.
   * Whether there is such a client; `false` with nothing written.
   */
  quarantineClient(
    revocation: NewRevocation & { kind: 'client'; isQuarantined: true },
    reason: string,
    event: AuditEvent,
  ): Promise<boolean>;
  /** Ends the quarantine. Whether there was one; `false` with nothing written. */
  releaseClient(clientId: string, event: AuditEvent): Promise<boolean>;
}
