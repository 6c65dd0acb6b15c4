import type { SigningAlgorithm } from './token.ts';
import { isRocaModulus, isSmallOrderPoint } from './weak-keys.ts';

/** What may be a JSON Web Key (RFC 7517 §4), nothing in it checked. */
export type Jwk = Readonly<Record<string, unknown>>;

/** Bits of an RSA modulus: RFC 7518 §3.3 wants 2048 or more; beyond 8192 one check takes a millisecond. */
const MIN_RSA_BITS = 2_048;
const MAX_RSA_BITS = 8_192;

/** NIST SP 800-56B §6.2.1: a smaller exponent has been the way into sloppy padding checks. */
const MIN_RSA_EXPONENT = 65_537n;

/** RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2. */
export const privateJwkMembers: readonly string[] = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth'];

export function isJsonWebKey(value: unknown): value is Jwk {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** RFC 7518 §6, RFC 8037 §2: the members a public key of each type is made of, and nothing else of it. */
export function publicMembersOf({ kty, crv, n, e, x, y }: Jwk): Jwk {
  return kty === 'RSA' ? { kty, n, e } : kty === 'EC' ? { kty, crv, x, y } : { kty, crv, x };
}

/** What a key of this type can sign with; an `alg` beside it may only confirm it. */
export function signingAlgorithmOf({ kty, crv }: Jwk): SigningAlgorithm | undefined {
  if (kty === 'RSA') return 'RS256';
  if (kty === 'EC' && crv === 'P-256') return 'ES256';
  if (kty === 'OKP' && crv === 'Ed25519') return 'EdDSA';
  return undefined;
}

/** Why a key is not for checking signatures (RFC 7517 §4.2 and §4.3). */
export function purposeProblem({ use, key_ops: operations }: Jwk): string | undefined {
  if (use !== undefined && use !== 'sig') return 'its use is not sig';
  if (operations === undefined) return undefined;
  return Array.isArray(operations) && operations.includes('verify') ? undefined : 'its key_ops lack verify';
}

/**
 * Why a key that was well-formed enough to be imported proves nothing.
 * @param jwk as the crypto library exports it: each number in its one spelling
 */
export function weaknessOf({ kty, n, e, x }: Jwk): string | undefined {
  if (kty === 'RSA') return rsaWeakness(numberOf(n), numberOf(e));
  if (kty !== 'OKP') return undefined;
  return isSmallOrderPoint(bytesOf(x)) ? 'its Ed25519 point is of small order' : undefined;
}

function rsaWeakness(modulus: bigint, exponent: bigint): string | undefined {
  const bits = modulus.toString(2).length;
  if (bits < MIN_RSA_BITS) return `its RSA modulus has fewer than ${MIN_RSA_BITS} bits`;
  if (bits > MAX_RSA_BITS) return `its RSA modulus has more than ${MAX_RSA_BITS} bits`;
  if (exponent < MIN_RSA_EXPONENT || exponent % 2n === 0n) return 'its RSA exponent is too small or even';
  return isRocaModulus(modulus) ? 'its RSA modulus can be factored (ROCA)' : undefined;
}

function numberOf(encoded: unknown): bigint {
  const hex = Array.from(bytesOf(encoded), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return BigInt(`0x${hex || '0'}`);
}

function bytesOf(encoded: unknown): Uint8Array {
  const base64 = String(encoded ?? '')
    .replaceAll('-', '+')
    .replaceAll('_', '/');
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
