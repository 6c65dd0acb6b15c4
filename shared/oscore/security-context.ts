import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import { infoOf } from './structures.ts';

/** What both sides were given beforehand (RFC 8613 §3.2). */
export interface ContextParameters {
  /** 16 random bytes or more, of this context alone. */
  readonly masterSecret: Uint8Array;
  /** Default: empty. */
  readonly masterSalt?: Uint8Array | undefined;
  /** What this side puts into its messages; up to 7 bytes, and another one than the recipient's. */
  readonly senderId: Uint8Array;
  readonly recipientId: Uint8Array;
  readonly idContext?: Uint8Array | undefined;
}

/** Keys of one side, derived. Prepared: of a key in bytes OpenSSL makes one anew for each message, at four times the time. */
export interface SecurityContext {
  readonly senderId: Uint8Array;
  readonly recipientId: Uint8Array;
  readonly idContext: Uint8Array | undefined;
  readonly senderKey: KeyObject;
  readonly recipientKey: KeyObject;
  readonly commonIv: Uint8Array;
}

/** The nonce has 13 bytes, six of them for the length of the id and the partial IV (RFC 8613 §5.2). */
export const MAX_ID_BYTES = 7;

const MAX_ID_CONTEXT_BYTES = 255;
const MIN_SECRET_BYTES = 16;
const KEY_BYTES = 16;
const NONCE_BYTES = 13;

/**
 * Derives keys by HKDF with SHA-256 for AES-CCM-16-64-128 (RFC 8613 §3.2.1).
 * @throws RangeError for ids that are too long or equal, an id context that is too long, or a secret that is too short
 */
export function deriveContext(parameters: ContextParameters): SecurityContext {
  const { masterSecret, masterSalt = new Uint8Array(), senderId, recipientId, idContext } = parameters;
  if (masterSecret.length < MIN_SECRET_BYTES) {
    throw new RangeError(`a master secret has ${MIN_SECRET_BYTES} bytes or more`);
  }
  if (senderId.length > MAX_ID_BYTES || recipientId.length > MAX_ID_BYTES) {
    throw new RangeError(`sender and recipient id have ${MAX_ID_BYTES} bytes or fewer`);
  }
  // One byte says its length in a message.
  if (idContext !== undefined && idContext.length > MAX_ID_CONTEXT_BYTES) {
    throw new RangeError(`an id context has ${MAX_ID_CONTEXT_BYTES} bytes or fewer`);
  }
  // The same key would encrypt both directions under the same nonces.
  if (Buffer.compare(senderId, recipientId) === 0)
    throw new RangeError('sender and recipient id are the same');
  const derive = (id: Uint8Array, type: 'Key' | 'IV', length: number) =>
    new Uint8Array(hkdfSync('sha256', masterSecret, masterSalt, infoOf(id, idContext, type, length), length));
  return {
    senderId,
    recipientId,
    idContext,
    senderKey: createSecretKey(derive(senderId, 'Key', KEY_BYTES)),
    recipientKey: createSecretKey(derive(recipientId, 'Key', KEY_BYTES)),
    commonIv: derive(new Uint8Array(), 'IV', NONCE_BYTES),
  };
}

/** The nonce of a message whose partial IV was counted by the owner of `id` (RFC 8613 §5.2). */
export function nonceOf({ commonIv }: SecurityContext, id: Uint8Array, partialIv: Uint8Array): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce[0] = id.length;
  nonce.set(id, 1 + MAX_ID_BYTES - id.length);
  nonce.set(partialIv, NONCE_BYTES - partialIv.length);
  for (let n = 0; n < NONCE_BYTES; n += 1) nonce[n] = (nonce[n] as number) ^ (commonIv[n] as number);
  return nonce;
}
