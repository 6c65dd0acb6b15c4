import { createCipheriv, createDecipheriv } from 'node:crypto';
import { type CoapContent, type CoapOption, decodeContent, encodeContent } from './coap-content.ts';
import {
  decodeOptionValue,
  encodeOptionValue,
  OSCORE_OPTION,
  type OscoreOptionValue,
  partialIvOf,
  sequenceNumberOf,
} from './option-value.ts';
import { OscoreError } from './oscore-error.ts';
import type { ReplayWindow } from './replay-window.ts';
import { nonceOf, type SecurityContext } from './security-context.ts';
import { additionalData } from './structures.ts';

/** What ties a response to its request. */
export interface RequestBinding {
  readonly kid: Uint8Array;
  readonly partialIv: Uint8Array;
}

/** 0.02 POST and 2.04 Changed, which hide what is meant (RFC 8613 §4.2). */
const OUTER_REQUEST = 2;
const OUTER_RESPONSE = 68;

/** Uri-Host, Uri-Port, Proxy-Uri, Proxy-Scheme: read by who forwards, and not protected (RFC 8613 §4.1.3). */
const unprotectedOptions: ReadonlySet<number> = new Set([3, 7, 35, 39]);

const CIPHER = 'aes-128-ccm';
const TAG_BYTES = 8;

/**
 * Protects a request (RFC 8613 §8.1). A sequence number is used once with one context, ever: after it was given here it
 * must not be given again, whatever becomes of the message.
 * @param more `sendsIdContext` where the recipient cannot tell the context by the sender's id alone
 */
export function protectRequest(
  context: SecurityContext,
  request: CoapContent,
  sequenceNumber: number,
  { sendsIdContext = false } = {},
): { readonly message: CoapContent; readonly binding: RequestBinding } {
  const binding = { kid: context.senderId, partialIv: partialIvOf(sequenceNumber) };
  const nonce = nonceOf(context, context.senderId, binding.partialIv);
  const option = {
    ...binding,
    kidContext: sendsIdContext ? (context.idContext ?? new Uint8Array()) : undefined,
  };
  return { message: seal(context, request, { nonce, binding, option, outerCode: OUTER_REQUEST }), binding };
}

/**
 * The request inside a protected one (RFC 8613 §8.2).
 * @param window of this context; it moves only when the message is one of the sender's
 * @throws OscoreError
 */
export function unprotectRequest(
  context: SecurityContext,
  message: CoapContent,
  window: ReplayWindow,
): { readonly request: CoapContent; readonly binding: RequestBinding; readonly sequenceNumber: number } {
  const { kid, partialIv } = oscoreOptionOf(message);
  if (kid === undefined || partialIv === undefined) {
    throw new OscoreError('malformed', 'a request has a kid and a partial IV');
  }
  if (Buffer.compare(kid, context.recipientId) !== 0)
    throw new OscoreError('malformed', 'the kid is another');
  const sequenceNumber = sequenceNumberOf(partialIv);
  if (!window.isFresh(sequenceNumber)) throw new OscoreError('replayed', 'the request was seen before');
  const binding = { kid, partialIv };
  const request = open(context, message, nonceOf(context, kid, partialIv), binding);
  window.accept(sequenceNumber);
  return { request, binding, sequenceNumber };
}

/**
 * Protects a response to the request of `binding` (RFC 8613 §8.3), without a partial IV of its own: a request is
 * answered once.
 * @param sequenceNumber of the sender, where it answers more than once, or the request may have been a replay
 */
export function protectResponse(
  context: SecurityContext,
  response: CoapContent,
  binding: RequestBinding,
  sequenceNumber?: number,
): CoapContent {
  const partialIv = sequenceNumber === undefined ? undefined : partialIvOf(sequenceNumber);
  const nonce =
    partialIv === undefined
      ? nonceOf(context, binding.kid, binding.partialIv)
      : nonceOf(context, context.senderId, partialIv);
  return seal(context, response, { nonce, binding, option: { partialIv }, outerCode: OUTER_RESPONSE });
}

/**
 * The response inside a protected one, if it answers the request of `binding` (RFC 8613 §8.4).
 * @throws OscoreError
 */
export function unprotectResponse(
  context: SecurityContext,
  message: CoapContent,
  binding: RequestBinding,
): CoapContent {
  const { partialIv } = oscoreOptionOf(message);
  const nonce =
    partialIv === undefined
      ? nonceOf(context, binding.kid, binding.partialIv)
      : nonceOf(context, context.recipientId, partialIv);
  return open(context, message, nonce, binding);
}

/**
 * The value of the OSCORE option, by which a recipient finds the context.
 * @throws OscoreError `malformed` when there is none, or more than one
 */
export function oscoreOptionOf({ options }: CoapContent): OscoreOptionValue {
  const [option, another] = options.filter(({ number }) => number === OSCORE_OPTION);
  if (option === undefined || another !== undefined) {
    throw new OscoreError('malformed', 'there is not one OSCORE option');
  }
  return decodeOptionValue(option.value);
}

interface Sealing {
  readonly nonce: Buffer;
  readonly binding: RequestBinding;
  readonly option: OscoreOptionValue;
  readonly outerCode: number;
}

function seal(
  { senderKey }: SecurityContext,
  { code, options, payload }: CoapContent,
  { nonce, binding, option, outerCode }: Sealing,
): CoapContent {
  const inner = options.filter((one) => !isOuter(one));
  const plaintext = encodeContent({ options: inner, payload }, 1);
  plaintext[0] = code;
  const cipher = createCipheriv(CIPHER, senderKey, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(additionalData(binding.kid, binding.partialIv), { plaintextLength: plaintext.length });
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  const oscore = { number: OSCORE_OPTION, value: encodeOptionValue(option) };
  return { code: outerCode, options: [...options.filter(isOuter), oscore], payload: ciphertext };
}

function open(
  { recipientKey }: SecurityContext,
  { options, payload }: CoapContent,
  nonce: Buffer,
  binding: RequestBinding,
): CoapContent {
  const ciphertext = payload.subarray(0, -TAG_BYTES);
  // The code at least.
  if (payload.length <= TAG_BYTES) throw new OscoreError('malformed', 'there is no ciphertext');
  const decipher = createDecipheriv(CIPHER, recipientKey, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(additionalData(binding.kid, binding.partialIv), { plaintextLength: ciphertext.length });
  decipher.setAuthTag(payload.subarray(-TAG_BYTES));
  let plaintext: Buffer;
  try {
    plaintext = decipher.update(ciphertext);
    // In this mode it gives no more bytes.
    decipher.final();
  } catch {
    throw new OscoreError('not_decrypted', 'the message was not made with the keys of this context');
  }
  const inner = decodeContent(plaintext.subarray(1));
  return {
    code: plaintext[0] as number,
    // Whatever else is outside was put there by who knows whom (RFC 8613 §8.2, step 2).
    options: [...options.filter(isOuter), ...inner.options.filter((one) => !isOuter(one))],
    payload: inner.payload,
  };
}

const isOuter = ({ number }: CoapOption) => unprotectedOptions.has(number);
