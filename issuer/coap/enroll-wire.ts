import {
  CborError,
  type CborItem,
  type CborMap,
  decodeCbor,
  encodeCbor,
  type FleetgateError,
  OAuthError,
} from '@fleetgate/shared';
import type { Enrolled } from '../fleet/enroll.ts';
import type { Issuer } from '../open-issuer.ts';
import type { JsonObject } from '../registry/registry.ts';

/** Characters of a description, so that the answer goes without blocks (RFC 7252 §4.6). */
const MAX_DESCRIPTION_LENGTH = 200;

/**
 * What a device says of itself: a map of texts to texts, or nothing.
 * @throws OAuthError `invalid_request`
 */
export function readEnrolling(payload: Uint8Array): JsonObject {
  if (payload.length === 0) return {};
  let item: CborItem;
  try {
    item = decodeCbor(payload);
  } catch (error) {
    if (!(error instanceof CborError)) throw error;
    return invalid(`the payload is not CBOR: ${error.message}`);
  }
  if (!(item instanceof Map)) return invalid('the payload is no map');
  const entries = Array.from(item as CborMap);
  if (!entries.every(([name, value]) => typeof name === 'string' && typeof value === 'string')) {
    return invalid('the payload is no map of texts');
  }
  return Object.fromEntries(entries);
}

/** A map by the names of a credentials file; ids and secrets as bytes. */
export function writeEnrolled(
  answer: Enrolled,
  issuer: Pick<Issuer, 'url' | 'coapTokenEndpoint' | 'defaultAudience'>,
): Buffer {
  if (answer.status === 'pending') {
    return encodeCbor(new Map(Object.entries({ status: 'pending', client_id: answer.clientId })));
  }
  const { client, shown } = answer;
  const { oscore } = shown;
  if (oscore === undefined) throw new Error('a device enrolled over CoAP and got no context');
  const audience = client.audience[0] ?? issuer.defaultAudience[0];
  const bytes = (hex: string) => Buffer.from(hex, 'hex');
  return encodeCbor(
    new Map<string, CborItem>(
      Object.entries({
        status: 'enrolled',
        client_id: client.clientId,
        issuer: issuer.url(),
        token_endpoint: issuer.coapTokenEndpoint() ?? '',
        ...(audience !== undefined && { audience }),
        master_secret: bytes(oscore.masterSecret),
        master_salt: bytes(oscore.masterSalt),
        sender_id: bytes(oscore.senderId),
        recipient_id: bytes(oscore.recipientId),
      }),
    ),
  );
}

export function writeEnrollmentError({ code, message }: FleetgateError): Buffer {
  return encodeCbor(
    new Map([
      ['error', code],
      ['error_description', message.slice(0, MAX_DESCRIPTION_LENGTH)],
    ]),
  );
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
