import type { FastifyInstance, FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify';
import type { Caller } from '../audit.ts';
import { type Role, roles } from '../roles.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Roles that may use an admin route. */
    roles?: readonly Role[];
  }
}

export type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown;

export interface MethodRoute {
  readonly handler: Handler;
  readonly options?: RouteShorthandOptions;
  /** Roles beside `admin` that may use it; of an admin route. Default: none. */
  readonly openTo?: readonly Exclude<Role, 'admin'>[];
}

/** Serves `methods` at `url` and answers every other method there with 405 and `Allow` (RFC 9110 §15.5.6). */
export function addRoute(
  app: FastifyInstance,
  url: string,
  methods: Readonly<Record<string, MethodRoute>>,
): void {
  const allowed = Object.keys(methods);
  if (allowed.includes('GET')) allowed.push('HEAD');
  for (const [method, { handler, options, openTo }] of Object.entries(methods)) {
    const access = openTo === undefined ? {} : { roles: ['admin', ...openTo] as const };
    app.route({ ...options, method, url, handler, config: { ...options?.config, ...access } });
  }
  app.route({
    method: app.supportedMethods.filter((method) => !allowed.includes(method)),
    url,
    // Before the body is read, and whatever its type is.
    onRequest: async (_request, reply) => {
      reply.header('allow', allowed.join(', '));
      throw new MethodNotAllowed();
    },
    handler: () => undefined,
    config: { roles },
  });
}

/** Shaped by the error handler of the routes around it. */
class MethodNotAllowed extends Error {
  readonly statusCode = 405;
}

/** Who asks: the peer of the socket. Headers that name another address could be made up. */
export function callerOf(request: FastifyRequest): Caller {
  const { traceparent } = request.headers;
  const caller = { address: request.socket.remoteAddress, requestId: request.id };
  return typeof traceparent === 'string' ? { ...caller, traceparent } : caller;
}
