import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FleetgateError } from '@fleetgate/shared';

export interface HealthServer extends AsyncDisposable {
  /** With the actual port. */
  readonly url: string;
}

/**
 * Serves `/livez`, always 200, and `/readyz`, 200 or 503 by `isReady`. Nothing else, and no token, is to be had here.
 * @throws FleetgateError `address_in_use`
 */
export async function startHealthServer(
  address: { host: string; port: number },
  isReady: () => boolean,
): Promise<HealthServer> {
  const server = createServer({ requestTimeout: 5000, maxHeaderSize: 8192 }, (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://health');
    const [status, text] =
      pathname === '/livez'
        ? [200, 'ok']
        : pathname !== '/readyz'
          ? [404, 'not found; there are /livez and /readyz']
          : isReady()
            ? [200, 'ok']
            : [503, 'not ready'];
    response
      .writeHead(status, { 'content-type': 'text/plain', 'cache-control': 'no-store' })
      .end(`${text}\n`);
  });
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const name = `${address.host}:${address.port}`;
      reject(
        error.code === 'EADDRINUSE'
          ? new FleetgateError('address_in_use', `--health ${name} is in use; choose another port`)
          : new FleetgateError('config_invalid', `--health ${name} cannot be listened on (${error.code})`),
      );
    });
    server.listen(address.port, address.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return {
    url: `http://${host}:${port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}
