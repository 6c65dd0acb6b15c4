import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/**
 * SHA-256 of the client certificate in DER, base64url (RFC 8705 §3.1), when `carrier` is a TLS connection that asked
 * for one and verified it. Of TLS that ends elsewhere nothing is known, and nothing said there is believed.
 */
export function certificateThumbprint(carrier: Duplex): string | undefined {
  if (!(carrier instanceof TLSSocket) || !carrier.authorized) return undefined;
  const certificate = carrier.getPeerX509Certificate();
  return certificate && thumbprintOf(certificate.raw);
}

/** `x5t#S256` of a certificate in DER. */
export function thumbprintOf(certificate: Uint8Array): string {
  return createHash('sha256').update(certificate).digest('base64url');
}
