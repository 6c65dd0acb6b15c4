import { connect, createServer, type Socket } from 'node:net';

/** A plain TCP balancer on a free loopback port, as HAProxy in TCP mode: each connection goes to the next that takes it. */
export interface Balancer {
  readonly port: number;
  /** Whether nobody gets through: open connections are lost, new ones are not taken. */
  cut(isCut: boolean): void;
  close(): Promise<void>;
}

/** `ports` are asked at each connection: a backend that was started again has another. */
export async function startBalancer(ports: () => readonly number[]): Promise<Balancer> {
  const open = new Set<Socket>();
  let next = 0;
  let isCut = false;

  function forward(client: Socket, candidates: readonly number[]): void {
    const [port, ...others] = candidates;
    if (port === undefined) {
      client.destroy();
      return;
    }
    const backend = connect(port, '127.0.0.1');
    const refused = () => forward(client, others);
    backend.once('error', refused);
    backend.once('connect', () => {
      backend.off('error', refused);
      backend.on('error', () => client.destroy());
      backend.once('close', () => client.destroy());
      client.once('close', () => backend.destroy());
      client.pipe(backend).pipe(client);
    });
  }

  const server = createServer((client) => {
    open.add(client);
    client.on('error', () => client.destroy());
    client.once('close', () => open.delete(client));
    if (isCut) {
      client.destroy();
      return;
    }
    const all = ports();
    next += 1;
    forward(client, [...all.slice(next % all.length), ...all.slice(0, next % all.length)]);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: (server.address() as { port: number }).port,
    cut(now) {
      isCut = now;
      if (isCut) for (const each of open) each.destroy();
    },
    close: () =>
      new Promise((done) => {
        for (const each of open) each.destroy();
        server.close(() => done());
      }),
  };
}
