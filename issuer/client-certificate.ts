import { createHash, type X509Certificate } from 'node:crypto';

/** The certificate that a client showed in the TLS handshake, and so has the key of. */
export interface ClientCertificate {
  readonly x509: X509Certificate;
  /** Whether a chain led from it to an authority of the listener at the handshake. */
  readonly isTrusted: boolean;
}

/** SHA-256 of it in DER, base64url: `x5t#S256` (RFC 8705 §3.1). */
export function thumbprintOf({ x509 }: ClientCertificate): string {
  return createHash('sha256').update(x509.raw).digest('base64url');
}
