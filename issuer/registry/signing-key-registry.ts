import type { SigningAlgorithm } from '@fleetgate/shared';
import type { AuditEvent } from '../audit.ts';
import type { NewRevocation, RecordedRevocation } from '../revocation.ts';

/**
 * `next` is published so that verifiers have it before it signs; `active` signs; `retired` is published for the tokens
 * it has signed. A key that is gone is remembered by the audit trail alone.
 */
export type SigningKeyState = 'next' | 'active' | 'retired';

/** A published signing key. The private half is encrypted before it comes here. Times in milliseconds since 1970. */
export interface StoredSigningKey {
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  readonly publicJwk: Readonly<Record<string, unknown>>;
  /** Unset for a retired key: nobody can sign with it any more. */
  readonly encryptedPrivateJwk: Uint8Array | undefined;
  /** At most one key is active, and at most one is next. */
  readonly state: SigningKeyState;
  readonly createdAtMs: number;
  /** Since when verifiers can have seen it. */
  readonly publishedAtMs: number;
  /** Whether a next key becomes active as soon as verifiers have it, and not only when the active one is old. */
  readonly isWanted: boolean;
  readonly activatedAtMs: number | undefined;
  readonly retiredAtMs: number | undefined;
  /** When a retired key leaves the set. */
  readonly publishedUntilMs: number | undefined;
}

export interface SigningKeySet {
  /** Another after each change, whichever process made it. */
  readonly revision: number;
  /** The active key first, then the next one, then the retired from new to old. */
  readonly keys: readonly StoredSigningKey[];
}

/** What becomes of the keys in one act. */
export interface SigningKeyChange {
  /** Of the set that it was made from. */
  readonly revision: number;
  /** When, milliseconds since 1970. */
  readonly atMs: number;
  /** New keys, and known ones as they are from now on. */
  readonly put: readonly StoredSigningKey[];
  /** `kid` of each that is gone, and its private half with it. */
  readonly removed: readonly string[];
  /** That one of them is compromised. */
  readonly revocation?: (NewRevocation & { readonly kind: 'key' }) | undefined;
  readonly events: readonly AuditEvent[];
}

/** What became of a change. Whatever but `changed` means that nothing was written. */
export type SigningKeysChanged =
  | {
      readonly outcome: 'changed';
      readonly set: SigningKeySet;
      /** The one that was asked for. */
      readonly revocation: RecordedRevocation | undefined;
    }
  /** The key was revoked before. */
  | { readonly outcome: 'already'; readonly revocation: RecordedRevocation }
  /** Another change came first: what is due has to be found out anew. */
  | { readonly outcome: 'outdated' }
  /** There is no key that could be revoked. */
  | { readonly outcome: 'key_unknown' };

/** The signing keys of a registry. */
export interface SigningKeyRegistry {
  signingKeys(): Promise<SigningKeySet>;
  signingKeyRevision(): Promise<number>;
  /**
   * Changes the keys, if nobody else has since. A key that is put as retired stays published longer by what the clock
   * was set back since the last token was recorded.
   */
  changeSigningKeys(change: SigningKeyChange): Promise<SigningKeysChanged>;
}
