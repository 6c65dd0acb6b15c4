import { TLSSocket } from 'node:tls';
import type { FastifyRequest } from 'fastify';
import type { ClientCertificate } from '../client-certificate.ts';

// A connection has one certificate and many requests, and reading it parses it anew.
const certificates = new WeakMap<TLSSocket, ClientCertificate>();

/** Remembers the certificate a client showed, if it did, as the handshake is done. */
export function noteCertificate(socket: TLSSocket): void {
  const x509 = socket.getPeerX509Certificate();
  if (x509 !== undefined) certificates.set(socket, { x509, isTrusted: socket.authorized });
}

/** The certificate of the connection that a request came by. What headers say of one could be made up. */
export function certificateOf({ raw }: FastifyRequest): ClientCertificate | undefined {
  return raw.socket instanceof TLSSocket ? certificates.get(raw.socket) : undefined;
}
