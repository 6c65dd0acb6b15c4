import type { AddressInfo } from 'node:net';
import { FleetgateError } from '@fleetgate/shared';
import Fastify, {
  type FastifyPluginAsync,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';

/** Bytes of an admin request's body. Ours: a client with all its labels and metadata is far below. */
const MAX_ADMIN_BODY_BYTES = 1_048_576;

export interface AdminOptions {
  host: string;
  port: number;
  log: Logger;
  /** Why the process should get no traffic; empty when it is ready. */
  problems: () => Promise<readonly string[]>;
  /** Printed at `/metrics`. */
  metrics: Registry;
  /** The issuer's admin API; absent where no issuer runs. */
  routes?: FastifyPluginAsync;
  /** The console, behind them: it asks them what it shows. */
  console?: FastifyPluginAsync;
}

export interface RunningAdmin {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Opens the one admin listener of a process: the admin API of the roles that run, health, and metrics. The last two
 * want no key, as probes and scrapers have none; they hold nothing of any client.
 * @throws FleetgateError `address_in_use`
 */
export async function startAdmin(options: AdminOptions): Promise<RunningAdmin> {
  const { host, port, log, problems, metrics, routes, console } = options;
  const app = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: MAX_ADMIN_BODY_BYTES,
    forceCloseConnections: 'idle',
    requestTimeout: 30_000,
    frameworkErrors: refuseUrl,
  });
  const requests = new Counter({
    name: 'fleetgate_admin_requests_total',
    help: 'Requests to the admin listener by status, probes and scrapes among them',
    labelNames: ['status'],
    registers: [metrics],
  });
  app.addHook('onResponse', async (_request, { statusCode }) => requests.inc({ status: statusCode }));
  app.get('/livez', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const found = await problems();
    if (found.length === 0) return { status: 'ok' };
    return reply.code(503).send({ status: 'unavailable', problems: found });
  });
  app.get('/metrics', async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.metrics()),
  );
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).send({ error: 'not_found', error_description: 'no such route on the admin listener' }),
  );
  if (routes !== undefined) await app.register(routes);
  if (console !== undefined) await app.register(console);
  try {
    await app.listen({ host, port });
  } catch (error) {
    await app.close();
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new FleetgateError(
      'address_in_use',
      `port ${port} on ${host} is in use; stop what holds it, or set admin.port to another (0 picks a free one)`,
    );
  }
  const { port: actualPort } = app.server.address() as AddressInfo;
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${actualPort}`, close: () => app.close() };
}

/** Answers a URL that is malformed, or too long in a part. Fastify's own answer would quote it. */
function refuseUrl(error: { statusCode?: number }, _request: FastifyRequest, reply: FastifyReply): void {
  reply
    .code(error.statusCode ?? 400)
    .send({ error: 'invalid_request', error_description: 'the URL is malformed or too long' });
}
