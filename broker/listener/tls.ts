import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import type { Limits, Logger } from '../options.ts';
import { logQuietly } from '../refusal.ts';
import type { Arrival, Step } from './arrival.ts';
import type { TlsFiles, TlsMaterial } from './tls-files.ts';

/** TLS 1.3, and of 1.2 what has forward secrecy and authenticated encryption (RFC 9325 §4.2, CCM for RFC 7925). */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE+AESGCM',
  'ECDHE+CHACHA20',
  'ECDHE+AESCCM',
].join(':');

export interface TlsStep {
  readonly step: Step;
  /** For connections from now on. Sessions of before cannot be resumed. */
  use(material: TlsMaterial): void;
}

/** The TLS handshake, on any socket. How long it may take is the arrival's business. */
export function tlsStep(
  files: TlsFiles,
  material: TlsMaterial,
  { limits, log }: { readonly limits: Limits; readonly log: Logger },
  next: Step,
): TlsStep {
  const arrivals = new WeakMap<object, Arrival>();
  const arrivalOf = (socket: TLSSocket) => arrivals.get(underlying(socket) ?? socket);
  const server = createServer({
    ...contextOf(material),
    requestCert: material.ca !== undefined,
    rejectUnauthorized: files.requireClientCert === true,
    // The arrival's deadline comes first; the default is 120 s, less than that may be.
    handshakeTimeout: limits.connectTimeoutSeconds * 1000 + 1_000,
  });
  server.on('secureConnection', (socket) => {
    const arrival = arrivalOf(socket);
    if (arrival === undefined) {
      socket.destroy();
      return;
    }
    arrival.carrier = socket;
    socket.on('error', () => {});
    if (isAcceptable(socket)) next(socket, arrival);
    else arrival.refuse('tls_refused');
  });
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    const arrival = arrivalOf(socket);
    if (arrival !== undefined) arrival.carrier = socket;
    const reason = (socket.authorizationError ?? error.code) as unknown;
    // Whoever just leaves, as a load balancer that looks whether the port is open, is not refused.
    if (reason !== 'ECONNRESET') {
      arrival?.refuse('tls_refused');
      logCause(log, reason);
    }
    socket.destroy();
  });
  return {
    step(socket, arrival) {
      arrivals.set(socket, arrival);
      server.emit('connection', socket);
    },
    use(renewed) {
      server.setSecureContext(contextOf(renewed));
    },
  };
}

function contextOf({ cert, key, ca }: TlsMaterial): SecureContextOptions {
  return {
    cert,
    key,
    ...(ca === undefined ? {} : { ca: [...ca] }),
    minVersion: 'TLSv1.2',
    ciphers,
    // With another certificate in mid-connection a client would be someone else.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
}

/**
 * No client certificate, where none is required, or a good one. Node lets a bad one pass where none is required; and a
 * resumed session brings along that its certificate was good, which may be long ago.
 */
function isAcceptable(socket: TLSSocket): boolean {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return true;
  return socket.authorized && certificate.validToDate.getTime() >= Date.now();
}

/** Why in OpenSSL's words, as which certificate or version; for whoever looks for it. */
function logCause(log: Logger, reason: unknown): void {
  try {
    log.debug({ event: 'tls_refused', cause: String(reason) }, 'TLS handshake failed');
  } catch (error) {
    logQuietly(log, error);
  }
}

/** The socket under it: Node says so nowhere else. Without it no handshake would get through. */
function underlying(socket: TLSSocket): Socket | undefined {
  return (socket as { _parent?: Socket })._parent;
}
