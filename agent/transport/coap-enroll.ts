import {
  CBOR,
  CborError,
  type CborItem,
  type CborMap,
  checkCredentials,
  coapCode,
  coapOption,
  decodeCbor,
  deriveContext,
  encodeCbor,
  enrollmentContext,
  enrollmentKid,
  FleetgateError,
  type GroupKeyName,
  OAuthError,
  uintValue,
} from '@fleetgate/shared';
import type { EnrollmentAnswer, GroupEnrollmentKey } from '../enrollment.ts';
import { EnrollmentRefusedError } from '../enrollment-refused.ts';
import type { SequenceNumbers } from '../sequence-numbers.ts';
import { endpointOf, type ProtectedPeer, postProtected } from './coap.ts';
import { pendingAnswer } from './pending-answer.ts';
import { printable } from './token-response.ts';

export interface CoapEnrollment {
  /** `coap://host[:port]`. */
  readonly issuer: string;
  readonly key: GroupEnrollmentKey;
  readonly device: Readonly<Record<string, string>>;
  /** Where the sequence numbers are kept that were used with this key. */
  readonly sequenceNumbers: SequenceNumbers;
  readonly signal: AbortSignal;
  readonly timing?: ProtectedPeer['timing'];
}

/**
 * Asks the issuer once, over CoAP inside the context of the device's key. Which of its group's two keys that was made of
 * is not known here: the other is tried where the issuer cannot read what came.
 * @throws as `askToEnroll`
 */
export async function enrollOverCoap(question: CoapEnrollment): Promise<EnrollmentAnswer> {
  try {
    return await askBy('primary', question);
  } catch (error) {
    const isUnread = error instanceof FleetgateError && error.code === 'token_request_failed';
    if (!isUnread || question.signal.aborted) throw error;
    return await askBy('secondary', question);
  }
}

async function askBy(which: GroupKeyName, question: CoapEnrollment): Promise<EnrollmentAnswer> {
  const { issuer, key, device, sequenceNumbers: numbers, signal, timing } = question;
  const kid = enrollmentKid(key.enrollmentId, which);
  const parameters = enrollmentContext(kid, Buffer.from(key.deviceKey, 'base64'), key.registrationId);
  const peer: ProtectedPeer = {
    endpoint: endpointOf(`${issuer.replace(/\/+$/, '')}/enroll`),
    context: contextOf(parameters.device),
    numbers,
    signal,
    timing,
    sendsIdContext: true,
    unprotectedHint: 'if it stays so, the enrollment, the registration id and the key do not belong together',
  };
  const answer = await postProtected(peer, {
    format: CBOR,
    payload: encodeCbor(new Map(Object.entries(device))),
  });
  const map = mapIn(answer.payload);
  switch (answer.code) {
    case coapCode.CREATED:
      return { status: 'enrolled', credentials: credentialsIn(map) };
    case coapCode.CONTENT:
      return pendingAnswer(map.get('client_id'), uintValue(answer, coapOption.MAX_AGE));
    case coapCode.TOO_MANY_REQUESTS:
    case coapCode.SERVICE_UNAVAILABLE:
      throw new OAuthError('temporarily_unavailable', 'the issuer asks to come back later');
    default: {
      const [words, code] = ['error_description', 'error'].map((name) => printable(map.get(name)));
      throw new EnrollmentRefusedError('enrollment_refused', `${words || 'the issuer refused'} (${code})`);
    }
  }
}

function contextOf(parameters: Parameters<typeof deriveContext>[0]) {
  try {
    return deriveContext(parameters);
  } catch {
    throw new FleetgateError('credentials_invalid', 'the device key is none: it must be base64 of 32 bytes');
  }
}

function credentialsIn(map: CborMap) {
  const bytes = (name: string) =>
    Buffer.from((map.get(name) as Uint8Array | undefined) ?? []).toString('hex');
  const text = (name: string) => map.get(name);
  return checkCredentials({
    version: 1,
    client_id: text('client_id'),
    issuer: text('issuer'),
    token_endpoint: text('token_endpoint'),
    auth: {
      method: 'oscore',
      master_secret: bytes('master_secret'),
      master_salt: bytes('master_salt'),
      sender_id: bytes('sender_id'),
      recipient_id: bytes('recipient_id'),
    },
    ...(text('audience') !== undefined && { audience: text('audience') }),
  });
}

function mapIn(payload: Uint8Array): CborMap {
  if (payload.length === 0) return new Map();
  let item: CborItem;
  try {
    item = decodeCbor(payload);
  } catch (error) {
    if (!(error instanceof CborError)) throw error;
    item = null;
  }
  if (item instanceof Map) return item as CborMap;
  throw new FleetgateError('token_response_invalid', 'the answer is no CBOR map');
}
