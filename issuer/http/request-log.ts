import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { IssuerObserver, Listener } from '../observer.ts';
import { errorBody } from './errors.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Others serve it, and write its line. */
    isHandedOn?: boolean;
  }
}

/** Where a request came in, and who counts those that are refused. */
export interface RequestLogOptions {
  readonly listener: Listener;
  readonly observer?: IssuerObserver | undefined;
}

/**
 * A line in the log for each request; a refused one with the reason code, and told to the observer. It holds no header,
 * path, query or body.
 */
export function logRequests(app: FastifyInstance, { listener, observer }: RequestLogOptions): void {
  app.addHook('onResponse', async (request, reply) => {
    if (request.isHandedOn) return;
    const { method, routeOptions, socket, refusalReason } = request;
    const { statusCode: status, elapsedTime } = reply;
    const reason = refusalReason ?? (status < 400 ? undefined : errorBody(status).error);
    const line = {
      method,
      // The route and not the path: also a path that nobody serves may hold a secret.
      route: routeOptions.url ?? 'none',
      status,
      ms: Math.round(elapsedTime),
      address: socket.remoteAddress,
    };
    if (reason === undefined) {
      request.log.info({ event: 'request', ...line }, 'request');
      return;
    }
    observer?.refused(listener, status, reason);
    request.log[status >= 500 ? 'error' : 'warn']({ event: 'refused', ...line, reason }, 'request');
  });
}

/** The same for what was refused before it was a request: malformed, or too slow. */
export function logMalformed(
  log: Logger | FastifyBaseLogger | undefined,
  { status, address }: { readonly status: number; readonly address: string | undefined },
  { listener, observer }: RequestLogOptions,
): void {
  const reason = errorBody(status).error;
  observer?.refused(listener, status, reason);
  log?.warn({ event: 'refused', route: 'none', status, address, reason }, 'request');
}
