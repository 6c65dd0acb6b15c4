import type { AuditEvent } from '../audit.ts';
import type { StoredContext } from '../oscore-context.ts';
import type { NewRevocation } from '../revocation.ts';
import type { ClientSecret } from '../secrets.ts';

/** A new secret for a client, and what becomes of those it has. */
export interface SecretRotation {
  readonly clientId: string;
  readonly secret: ClientSecret;
  /**
   * When those it has end; each sooner where it was made to end sooner. What an earlier rotation had set counts no
   * longer. Unset: no end is set.
   */
  readonly olderEndAtMs: number | undefined;
  /** Whether they end soon after the new one was used. */
  readonly olderEndOnSuccession: boolean;
  /** Revokes the tokens of the client in the same act. */
  readonly revocation?: NewRevocation & { readonly kind: 'client' };
}

/** What became of a rotation. Whatever but `rotated` means that nothing was written. */
export type SecretRotated =
  /** With the secrets the client has now, from old to new. */
  | { readonly outcome: 'rotated'; readonly secrets: readonly ClientSecret[] }
  /** It would be one live secret too many; with those there are. */
  | { readonly outcome: 'too_many'; readonly secrets: readonly ClientSecret[] }
  | { readonly outcome: 'client_unknown' };

/** A secret that was presented and proved its client. */
export interface SecretUse {
  readonly registration: number;
  readonly secretId: string;
  readonly atMs: number;
  /** When those end that were to end on its first use. */
  readonly succeededEndAtMs: number;
}

/** A secret with whose it is, and where it stands in the list it was asked from. */
export interface OwnedSecret extends ClientSecret {
  readonly clientId: string;
  readonly position: SecretPosition;
}

/** A context with whose it is. */
export interface OwnedContext {
  readonly clientId: string;
  readonly secretId: string;
  readonly context: StoredContext;
}

/** Positions compare by each field in turn. */
export interface SecretPosition {
  /** What the list is ordered by. */
  readonly atMs: number;
  readonly registration: number;
  /** 0 or 1: which of its client's. */
  readonly slot: number;
}

/** A list of live secrets of all clients. */
export type SecretQuery = {
  readonly nowMs: number;
  readonly limit: number;
  readonly after?: SecretPosition | undefined;
} & (
  | /** Never used, from old to new. */ { readonly state: 'never_used' }
  | /** Ending by then, the next to end first. */ { readonly state: 'expiring'; readonly untilMs: number }
);

/** What the registry does with secrets besides keeping those of a new client. As to durability see `Registry`. */
export interface SecretRegistry {
  rotateSecret(rotation: SecretRotation, event: AuditEvent): Promise<SecretRotated>;
  /** Ends a secret at `event.atMs`. `already` when it had ended: then nothing is written. */
  endSecret(
    clientId: string,
    secretId: string,
    event: AuditEvent,
  ): Promise<'ended' | 'already' | 'client_unknown' | 'secret_unknown'>;
  /**
   * Remembers that a secret was used. The first use alone writes the event, and ends those that waited for it; of all
   * connections to the store one use is the first.
   */
  recordSecretUse(use: SecretUse, event: AuditEvent): Promise<void>;
  listSecrets(query: SecretQuery): Promise<OwnedSecret[]>;
  /** The OSCORE context of that kid, and whose secret it is; whether that is live is for who uses it to see. */
  findContext(kid: Uint8Array): Promise<OwnedContext | undefined>;
  /** Contexts ordered by kid, those behind `after`. */
  listContexts(page: { readonly after: Uint8Array; readonly limit: number }): Promise<StoredContext[]>;
  /** Replaces what is kept of these contexts, in one act. */
  replaceContexts(contexts: readonly StoredContext[], event: AuditEvent): Promise<void>;
  /** So many sequence numbers that nobody else is given, ever; the first of them, `atLeast` or more. */
  reserveSequenceNumbers(count: number, atLeast: number): Promise<number>;
}
