import type { AddressInfo } from 'node:net';
import { FleetgateError } from '@fleetgate/shared';
import Fastify, { type FastifyPluginAsync, LogController } from 'fastify';
import type { Logger } from 'pino';

/** Bytes of an admin request's body. Ours: a client with all its labels and metadata is far below. */
const MAX_ADMIN_BODY_BYTES = 1_048_576;

export interface AdminOptions {
  host: string;
  port: number;
  log: Logger;
  isReady: () => Promise<boolean>;
  /** The issuer's admin API; absent where no issuer runs. */
  routes?: FastifyPluginAsync;
}

export interface RunningAdmin {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Opens the one admin listener of a process: the admin API of the roles that run, and health.
 * @throws FleetgateError `address_in_use`
 */
export async function startAdmin({ host, port, log, isReady, routes }: AdminOptions): Promise<RunningAdmin> {
  const app = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: MAX_ADMIN_BODY_BYTES,
    forceCloseConnections: 'idle',
    requestTimeout: 30_000,
  });
  app.get('/livez', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const ready = await isReady();
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ok' : 'unavailable' });
  });
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).send({ error: 'not_found', error_description: 'no such route on the admin listener' }),
  );
  if (routes !== undefined) await app.register(routes);
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
