import { connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** A loopback port by which a server is as far as one in another building: each way takes `delayMs`. */
export async function distantServer(port: number, delayMs: number): Promise<number> {
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const backend = connect(port, '127.0.0.1');
    for (const [from, to] of [
      [client, backend],
      [backend, client],
    ] as const) {
      open.add(from);
      from.setNoDelay(true);
      from.on('error', () => {});
      from.on('data', (bytes) => setTimeout(() => to.write(bytes), delayMs));
      from.on('close', () => {
        open.delete(from);
        setTimeout(() => to.destroy(), delayMs);
      });
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    for (const each of open) each.destroy();
    server.close();
  });
  return (server.address() as { port: number }).port;
}
