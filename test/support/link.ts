import { connect, createServer, type Socket } from 'node:net';

/**
 * `cut`: open connections are lost and new ones refused. `silent`: no byte passes and nobody is told, as when a cable
 * is out; what was written meanwhile arrives when the link is mended.
 */
export type LinkState = 'open' | 'cut' | 'silent';

/** A TCP link to one server, on a loopback port that it keeps. */
export interface Link {
  readonly port: number;
  set(state: LinkState): void;
  close(): Promise<void>;
}

interface Connection {
  /** Nothing is read from either end, and neither hears of the other's end. */
  silence(): void;
  mend(): void;
  destroy(): void;
}

/** `target` is asked at each connection: a server that was started again may have another port. */
export async function startLink(target: () => number): Promise<Link> {
  const connections = new Set<Connection>();
  let state: LinkState = 'open';

  const server = createServer({ noDelay: true, pauseOnConnect: true }, (client) => {
    if (state === 'cut') {
      client.on('error', () => {});
      client.resetAndDestroy();
      return;
    }
    const connection = forward(client, target, state === 'silent', () => connections.delete(connection));
    connections.add(connection);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: (server.address() as { port: number }).port,
    set(next) {
      state = next;
      for (const each of connections) {
        if (state === 'cut') each.destroy();
        else if (state === 'silent') each.silence();
        else each.mend();
      }
    },
    close: () =>
      new Promise((done) => {
        for (const each of connections) each.destroy();
        server.close(() => done());
      }),
  };
}

function forward(client: Socket, target: () => number, isSilentNow: boolean, ended: () => void): Connection {
  let server: Socket | undefined;
  let isSilent = isSilentNow;
  let isBroken = false;

  function destroy(): void {
    client.destroy();
    server?.destroy();
    ended();
  }
  /** What was read before is still written. */
  function endBoth(): void {
    ended();
    for (const socket of [client, server]) socket?.end(() => socket.destroy());
  }
  function lost(): void {
    isBroken = true;
    if (!isSilent) endBoth();
  }
  function carry(from: Socket, to: Socket): void {
    from.on('data', (chunk) => {
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => {
      if (!isSilent) from.resume();
    });
    if (!isSilent) from.resume();
  }
  function open(): void {
    const opened = connect({ port: target(), host: '127.0.0.1', noDelay: true });
    server = opened;
    opened.on('error', () => {});
    opened.once('close', lost);
    opened.once('connect', () => {
      carry(client, opened);
      carry(opened, client);
    });
  }

  client.on('error', () => {});
  client.once('close', lost);
  if (!isSilent) open();
  return {
    silence() {
      isSilent = true;
      client.pause();
      server?.pause();
    },
    mend() {
      isSilent = false;
      if (isBroken) endBoth();
      else if (server === undefined) open();
      else if (!server.connecting) {
        client.resume();
        server.resume();
      }
    },
    destroy,
  };
}
