import { randomUUID } from 'node:crypto';
import type { Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { FleetgateError } from '@fleetgate/shared';
import { type FastifyBaseLogger, type FastifyInstance, fastify, LogController } from 'fastify';
import type { Logger } from 'pino';
import { addressPlaces } from './address-places.ts';
import { noteCertificate } from './connection-certificate.ts';
import { errorBody, sendError } from './errors.ts';
import { logMalformed, logRequests, type RequestLogOptions } from './request-log.ts';
import { certificateRequest, secureContext, type TlsMaterial } from './tls.ts';

/** Bytes of a body. Ours: a token request with the longest scope and secret is far below. */
export const MAX_BODY_BYTES = 65_536;

/** Open sockets. Ours: each costs some kilobytes, and machines ask once in minutes. */
const MAX_CONNECTIONS = 10_000;

/** How long requests in flight may take once the server closes; within the 10 s of a stop. */
const CLOSE_GRACE_MS = 8000;

export interface HttpTimeouts {
  /** Without any byte on the socket. */
  readonly idleMs: number;
  /** From the first byte of a request to its last: a slow one is cut off (408). */
  readonly requestMs: number;
  /** Between two requests on one connection. Longer than the 60 s of usual proxies, which else meet a closed socket. */
  readonly keepAliveMs: number;
}

const defaultTimeouts: HttpTimeouts = { idleMs: 75_000, requestMs: 15_000, keepAliveMs: 65_000 };

export interface HttpServer {
  readonly app: FastifyInstance;
  /**
   * The actual port.
   * @throws FleetgateError `address_in_use`
   */
  listen(address: { readonly host: string; readonly port: number }): Promise<number>;
  /** For connections from now on. TLS sessions of before cannot be resumed, and idle connections are closed. */
  useTls(material: TlsMaterial): void;
  /** Stops accepting and finishes what is in flight; what takes too long is cut off. */
  close(): Promise<void>;
}

export interface HttpServerOptions {
  readonly timeouts?: HttpTimeouts;
  /** Without it the server speaks plain HTTP. */
  readonly tls?: TlsMaterial | undefined;
  /** Open at once from one address; those beyond are closed. Default: no limit of its own. */
  readonly maxAddressConnections?: number;
  /** Who counts refusals. Default: nobody. */
  readonly logged?: RequestLogOptions;
}

/** A Fastify server with limits, JSON errors throughout, and a log that holds no header, query or body. */
export function openHttpServer(
  log: Logger | undefined,
  {
    timeouts = defaultTimeouts,
    tls,
    maxAddressConnections = MAX_CONNECTIONS,
    logged = { listener: 'public' },
  }: HttpServerOptions = {},
): HttpServer {
  const checks = {
    headersTimeout: timeouts.requestMs,
    connectionsCheckingInterval: Math.min(1000, timeouts.requestMs),
  };
  const app: FastifyInstance = fastify({
    ...(log === undefined ? { logger: false } : { loggerInstance: log as FastifyBaseLogger }),
    // Fastify's own lines hold the URL, and with it a query that may hold a secret.
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    bodyLimit: MAX_BODY_BYTES,
    connectionTimeout: timeouts.idleMs,
    requestTimeout: timeouts.requestMs,
    keepAliveTimeout: timeouts.keepAliveMs,
    forceCloseConnections: 'idle',
    // A request that came while closing is still answered, on a connection that then closes.
    return503OnClosing: false,
    ...(tls === undefined
      ? { http: checks }
      : {
          https: {
            ...checks,
            ...secureContext(tls),
            ...certificateRequest,
            handshakeTimeout: timeouts.requestMs,
          } as object,
        }),
    frameworkErrors: sendError,
    clientErrorHandler: refuseMalformed(log, logged),
  });
  app.server.maxConnections = MAX_CONNECTIONS;
  const sockets = new Set<Socket>();
  const places = addressPlaces(maxAddressConnections, log, (reason) =>
    logged.observer?.refused(logged.listener, 'none', reason),
  );
  // Behind Node's own listener: TLS takes no socket that is destroyed already.
  app.server.on('connection', (socket: Socket) => {
    if (!places.take(socket)) return;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  // Those of TLS that have not asked anything yet; of those under them it cannot be told.
  const unused = new Set<Socket>();
  app.server.on('secureConnection', (socket: TLSSocket) => {
    noteCertificate(socket);
    unused.add(socket);
    socket.once('close', () => unused.delete(socket));
  });
  app.server.on('request', ({ socket }) => unused.delete(socket));
  app.setErrorHandler(sendError);
  app.setNotFoundHandler((request, reply) => sendError({ statusCode: 404 }, request, reply));
  logRequests(app, logged);

  return {
    app,
    async listen({ host, port }) {
      try {
        await app.listen({ host, port });
      } catch (error) {
        await app.close();
        throw asListenError(error, host, port);
      }
      return (app.server.address() as AddressInfo).port;
    },
    useTls(material) {
      (app.server as HttpsServer).setSecureContext(secureContext(material));
      app.server.closeIdleConnections();
    },
    async close() {
      const cut = setTimeout(() => {
        app.server.closeAllConnections();
        // In the middle of a TLS handshake it is no connection of HTTP yet.
        for (const socket of sockets) socket.destroy();
      }, CLOSE_GRACE_MS);
      try {
        const closed = app.close();
        // Node counts a connection without a first byte as busy, and would wait for it.
        for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
        for (const socket of unused) socket.destroy();
        await closed;
      } finally {
        clearTimeout(cut);
      }
    },
  };
}

function asListenError(error: unknown, host: string, port: number): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') return error;
  return new FleetgateError(
    'address_in_use',
    `port ${port} on ${host} is in use; stop what holds it, or set issuer.http.port to another (0 picks a free one)`,
  );
}

/** Answers what Node's parser refused, and what took too long, in the shape of all other errors. */
function refuseMalformed(log: Logger | undefined, logged: RequestLogOptions) {
  return (error: NodeJS.ErrnoException, socket: Socket): void => {
    // To a TLS handshake that failed nothing can be said in HTTP.
    if (/^ERR_(SSL|TLS)_/.test(error.code ?? '')) {
      log?.debug({ event: 'tls_refused', cause: error.code }, 'TLS handshake failed');
      socket.destroy();
      return;
    }
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const [status, reason] = statuses.get(error.code ?? '') ?? [400, 'Bad Request'];
    logMalformed(log, { status, address: socket.remoteAddress }, logged);
    const body = JSON.stringify(errorBody(status));
    socket.end(
      `HTTP/1.1 ${status} ${reason}\r\nContent-Type: application/json; charset=utf-8\r\nCache-Control: no-store\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
    // The peer may never read it, nor close.
    socket.destroySoon();
  };
}

const statuses: ReadonlyMap<string, readonly [number, string]> = new Map([
  ['ERR_HTTP_REQUEST_TIMEOUT', [408, 'Request Timeout']],
  ['HPE_HEADER_OVERFLOW', [431, 'Request Header Fields Too Large']],
]);
