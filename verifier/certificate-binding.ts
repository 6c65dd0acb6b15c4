import { timingSafeEqual } from 'node:crypto';
import { TokenError } from '@fleetgate/shared';
import { invalidClaim } from './invalid-claim.ts';
import type { Peer } from './verified-token.ts';

/** SHA-256 in base64url: 43 characters, the last of which has two bits that are 0. */
const thumbprintPattern = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

/**
 * The certificate a token is bound to by its `cnf` (RFC 8705 §3.1), `undefined` for one without. Any other way of
 * confirmation (RFC 7800 §3) is refused: this broker could not see that it holds.
 * @throws TokenError `token_claim_invalid`
 */
export function readCertificateBinding(confirmation: unknown): string | undefined {
  if (confirmation === undefined) return undefined;
  if (typeof confirmation !== 'object' || confirmation === null || Array.isArray(confirmation)) {
    return invalidClaim('cnf is not an object');
  }
  const [member, ...others] = Object.entries(confirmation);
  if (member === undefined || others.length > 0 || member[0] !== 'x5t#S256') {
    return invalidClaim('cnf holds something else than x5t#S256');
  }
  const [, thumbprint] = member;
  if (typeof thumbprint !== 'string' || !thumbprintPattern.test(thumbprint)) {
    return invalidClaim('x5t#S256 is not a SHA-256 in base64url');
  }
  return thumbprint;
}

/**
 * Refuses a bound token of a connection that did not show the certificate it is bound to.
 * @throws TokenError `token_binding_mismatch`
 */
export function checkCertificateBinding(thumbprint: string | undefined, peer: Peer): void {
  if (thumbprint === undefined) return;
  const shown = Buffer.from(peer.certificateThumbprint ?? '');
  const wanted = Buffer.from(thumbprint);
  if (shown.length !== wanted.length || !timingSafeEqual(shown, wanted)) {
    throw new TokenError('token_binding_mismatch', 'the token is bound to a certificate that was not shown');
  }
}
