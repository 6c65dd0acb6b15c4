import type { X509Certificate } from 'node:crypto';

/** The certificate that a client showed in the TLS handshake, and so has the key of. */
export interface ClientCertificate {
  readonly x509: X509Certificate;
  /** Whether a chain led from it to an authority of the listener at the handshake. */
  readonly isTrusted: boolean;
}
