import { constants } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';

/** What a listener speaks TLS with, all PEM. */
export interface TlsMaterial {
  /** The server's certificate first, then what leads from it to an authority that clients know. */
  readonly cert: string;
  readonly key: string;
  /** Authorities of client certificates (`tls_client_auth`). Without them none is known. */
  readonly ca?: readonly string[] | undefined;
}

/** TLS 1.3, and of 1.2 what has forward secrecy and authenticated encryption (RFC 9325 §4.2, CCM for RFC 7925). */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE+AESGCM',
  'ECDHE+CHACHA20',
  'ECDHE+AESCCM',
].join(':');

/** As Node takes it, for a server and for the exchange of its certificate. */
export function secureContext({ cert, key, ca = [] }: TlsMaterial): SecureContextOptions {
  return {
    cert,
    key,
    // An empty list, too: without one Node asks the authorities of the Web, which know nothing of our clients.
    ca: [...ca],
    minVersion: 'TLSv1.2',
    ciphers,
    // With another certificate in mid-connection a client would be someone else.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
}

/** A client is asked for a certificate; which one it shows, if any, is judged when it is used as a proof. */
export const certificateRequest = { requestCert: true, rejectUnauthorized: false } as const;
