import type { FastifyInstance, FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify';
import type { Caller } from '../audit.ts';
import { errorBody } from './errors.ts';

export type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown;

export interface MethodRoute {
  readonly handler: Handler;
  readonly options?: RouteShorthandOptions;
}

/** Serves `methods` at `url` and answers every other method there with 405 and `Allow` (RFC 9110 §15.5.6). */
export function addRoute(
  app: FastifyInstance,
  url: string,
  methods: Readonly<Record<string, MethodRoute>>,
): void {
  const allowed = Object.keys(methods);
  if (allowed.includes('GET')) allowed.push('HEAD');
  for (const [method, { handler, options }] of Object.entries(methods)) {
    app.route({ ...options, method, url, handler });
  }
  app.route({
    method: app.supportedMethods.filter((method) => !allowed.includes(method)),
    url,
    // Before the body is read, and whatever its type is.
    onRequest: async (_request, reply) =>
      reply
        .code(405)
        .headers({ allow: allowed.join(', '), 'cache-control': 'no-store' })
        .send(errorBody(405)),
    handler: () => undefined,
  });
}

/** Who asks: the peer of the socket. Headers that name another address could be made up. */
export function callerOf(request: FastifyRequest): Caller {
  return { address: request.socket.remoteAddress, requestId: request.id };
}
