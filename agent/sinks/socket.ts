import { lstat, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { FleetgateError } from '@fleetgate/shared';

/** Those who may be told at once; more are turned away. */
const MAX_CONNECTIONS = 64;

/** Bytes that may wait for a reader: some tokens. One that does not read is cut off. */
const MAX_WAITING_BYTES = 65_536;

export interface SocketSink extends AsyncDisposable {
  /** Sends the token to all who are connected, and to each who comes. */
  publish(token: string): void;
}

/**
 * A Unix socket, 0600, on which each connection is told the token and each that follows it, a line each.
 * @throws FleetgateError `address_in_use` when another process listens there, `config_invalid` when nothing can
 */
export async function openSocketSink(path: string): Promise<SocketSink> {
  await removeStale(path);
  const readers = new Set<Socket>();
  let current: string | undefined;
  const server = createServer((socket) => {
    readers.add(socket);
    socket.on('error', () => undefined).on('close', () => readers.delete(socket));
    // What is said to it is not kept.
    socket.resume();
    if (current !== undefined) tell(socket, current);
  });
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new FleetgateError('config_invalid', `--sink-socket ${path} cannot be listened on (${error.code})`),
      ),
    );
    // From the first moment nobody else's: a chmod would come after it can be opened.
    const before = process.umask(0o177);
    try {
      server.listen(path, resolve);
    } finally {
      process.umask(before);
    }
  });
  return {
    publish(token) {
      current = token;
      for (const socket of readers) tell(socket, token);
    },
    async [Symbol.asyncDispose]() {
      // Its file goes with it.
      const closed = new Promise<void>((done) => server.close(() => done()));
      for (const socket of readers) socket.destroy();
      await closed;
    },
  };
}

function tell(socket: Socket, token: string): void {
  if (socket.writableLength > MAX_WAITING_BYTES) socket.destroy();
  else socket.write(`${token}\n`);
}

/** A socket that a process left which was killed. */
async function removeStale(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats === undefined) return;
  if (!stats.isSocket()) throw new FleetgateError('config_invalid', `--sink-socket ${path} is not a socket`);
  const isAnswered = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
  if (isAnswered)
    throw new FleetgateError('address_in_use', `--sink-socket ${path} is in use; choose another path`);
  await rm(path, { force: true });
}
