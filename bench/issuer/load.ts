/** Makes the load, in a process of its own: a task comes by IPC and is answered with what was measured. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { clientId, clientSecret } from './clients.ts';

export interface Task {
  readonly port: number;
  /** Of the token endpoint. */
  readonly path: string;
  /** Ends after this time. */
  readonly seconds: number;
  /** And not before so many tokens. */
  readonly atLeast: number;
  /** Requests come from clients 0 to `clients - 1`, any of them. */
  readonly clients: number;
}

export interface Measured {
  readonly tokens: number;
  readonly perSecond: number;
  readonly p99Ms: number;
}

/** Connections, each with one request under way. */
const CONNECTIONS = 64;

/** Clients whose requests are made beforehand: more would be what is measured. */
const MAX_PREPARED = 1000;

const BODY = 'grant_type=client_credentials';

process.on('message', async (task: Task) => {
  try {
    process.send?.({ measured: await measure(task) });
  } catch (error) {
    process.send?.({ failed: String(error) });
  }
});

async function measure({ port, path, seconds, atLeast, clients }: Task): Promise<Measured> {
  const prepared = Array.from({ length: Math.min(clients, MAX_PREPARED) }, (_, n) =>
    requestBytes(n, port, path),
  );
  const nextRequest = () => {
    const n = Math.floor(Math.random() * clients);
    return prepared[n] ?? requestBytes(n, port, path);
  };
  const latenciesMs: number[] = [];
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000;
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const connection = await open(port);
      for (let sentMs = performance.now(); sentMs < endMs || latenciesMs.length < atLeast; ) {
        await connection.ask(nextRequest());
        const nowMs = performance.now();
        latenciesMs.push(nowMs - sentMs);
        sentMs = nowMs;
      }
      connection.close();
    }),
  );
  const tookSeconds = (performance.now() - startMs) / 1000;
  latenciesMs.sort((a, b) => a - b);
  return {
    tokens: latenciesMs.length,
    perSecond: latenciesMs.length / tookSeconds,
    p99Ms: latenciesMs[Math.floor(latenciesMs.length * 0.99)] ?? Number.NaN,
  };
}

function requestBytes(n: number, port: number, path: string): Buffer {
  const credentials = Buffer.from(`${clientId(n)}:${clientSecret(n)}`).toString('base64');
  return Buffer.from(
    [
      `POST ${path} HTTP/1.1`,
      `Host: 127.0.0.1:${port}`,
      `Authorization: Basic ${credentials}`,
      'Content-Type: application/x-www-form-urlencoded',
      `Content-Length: ${BODY.length}`,
      '',
      BODY,
    ].join('\r\n'),
  );
}

interface Connection {
  /** Sends a request and waits for its whole answer, which must hold a token. */
  ask(request: Buffer): Promise<void>;
  close(): void;
}

async function open(port: number): Promise<Connection> {
  const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  let answered = Promise.withResolvers<void>();
  let received = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    received += chunk;
    const end = answerEnd(received);
    if (end === undefined) return;
    const answer = received.slice(0, end);
    received = received.slice(end);
    // Status and a signed token: a refusal is quick.
    if (answer.startsWith('HTTP/1.1 200') && /"access_token":"[^".]+\.[^".]+\.[^".]+"/.test(answer))
      answered.resolve();
    else answered.reject(new Error(`not a token: ${answer.slice(0, 40)} ${answer.slice(-160)}`));
  });
  socket.on('error', (error) => answered.reject(error));
  socket.on('close', () => answered.reject(new Error('the connection was closed')));
  answered.promise.catch(() => undefined);
  return {
    ask(request) {
      answered = Promise.withResolvers<void>();
      socket.write(request);
      return answered.promise;
    },
    close() {
      answered.promise.catch(() => undefined);
      socket.destroy();
    },
  };
}

/** Where an answer of a known length ends, if it is all there. */
function answerEnd(received: string): number | undefined {
  const head = received.indexOf('\r\n\r\n');
  if (head === -1) return undefined;
  const [, length] = /\r\ncontent-length: (\d+)/i.exec(received.slice(0, head)) ?? [];
  if (length === undefined) throw new Error('an answer without Content-Length');
  const end = head + 4 + Number(length);
  return received.length >= end ? end : undefined;
}
