import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FleetgateError } from '@fleetgate/shared';

export interface HealthServer extends AsyncDisposable {
  /** With the actual port. */
  readonly url: string;
}

export interface HealthReport {
  readiness(): { isReady: boolean; text: string };
  /** In the text format of Prometheus. */
  metrics(): string;
}

/**
 * Serves `/livez`, always 200, `/readyz`, 200 or 503 with the reason in words, and `/metrics`. Nothing else, and no
 * token, is to be had here.
 * @throws FleetgateError `address_in_use`
 */
export async function startHealthServer(
  address: { host: string; port: number },
  report: HealthReport,
): Promise<HealthServer> {
  const server = createServer({ requestTimeout: 5000, maxHeaderSize: 8192 }, (request, response) => {
    const [status, text, type = 'text/plain'] = answer(request.url ?? '/', report);
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(text);
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

function answer(path: string, report: HealthReport): [status: number, text: string, type?: string] {
  // Not by URL, which throws for some of what a request line may hold.
  switch (path.split('?')[0]) {
    case '/livez':
      return [200, 'ok\n'];
    case '/readyz': {
      const { isReady, text } = report.readiness();
      return [isReady ? 200 : 503, `${text}\n`];
    }
    case '/metrics':
      return [200, report.metrics(), 'text/plain; version=0.0.4'];
    default:
      return [404, 'not found; there are /livez, /readyz and /metrics\n'];
  }
}
