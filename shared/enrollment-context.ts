import type { ContextParameters } from './oscore/security-context.ts';

/** Which of the two keys of a group a device has one from. */
export type GroupKeyName = 'primary' | 'secondary';

/** Bytes of an enrollment's id, a UUID, that are in its kid; no two enrollments share them but by chance. */
const ID_BYTES = 6;

/** The issuer's sender id in such a context. No device has an id of one byte. */
const ISSUER_ID = Uint8Array.of(0);

/** Names an enrollment, and one of its keys, in the OSCORE option: its id's first six bytes, and 0 or 1. */
export function enrollmentKid(enrollmentId: string, which: GroupKeyName): Uint8Array {
  const hex = enrollmentId.replaceAll('-', '').slice(0, 2 * ID_BYTES);
  const kid = new Uint8Array(ID_BYTES + 1);
  for (let i = 0; i < ID_BYTES; i += 1) kid[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  kid[ID_BYTES] = which === 'primary' ? 0 : 1;
  return kid;
}

/** How the ids of enrollments of this kid begin, and which key it names; unset for the kid of none. */
export function enrollmentOfKid(
  kid: Uint8Array,
): { readonly idStart: string; readonly which: GroupKeyName } | undefined {
  if (kid.length !== ID_BYTES + 1 || (kid[ID_BYTES] as number) > 1) return undefined;
  const hex = Array.from(kid.subarray(0, ID_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return {
    idStart: `${hex.slice(0, 8)}-${hex.slice(8)}`,
    which: kid[ID_BYTES] === 0 ? 'primary' : 'secondary',
  };
}

/**
 * The context in which a device of a group enrolls over CoAP. Each device has keys of its own: the master secret is the
 * key that was derived for it, and its registration id the id context (RFC 8613 §3.1), which is sent along.
 */
export function enrollmentContext(
  kid: Uint8Array,
  deviceKey: Uint8Array,
  registrationId: string,
): { readonly device: ContextParameters; readonly issuer: ContextParameters } {
  const common = { masterSecret: deviceKey, idContext: new TextEncoder().encode(registrationId) };
  return {
    device: { ...common, senderId: kid, recipientId: ISSUER_ID },
    issuer: { ...common, senderId: ISSUER_ID, recipientId: kid },
  };
}
