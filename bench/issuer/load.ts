/** Makes the load, in a process of its own: a task comes by IPC and is answered with what was measured. */
import { createPrivateKey, type JsonWebKey, sign } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { clientId, clientKeys, clientSecret } from './clients.ts';
import type { BenchAuth } from './goals.ts';

export interface Task {
  readonly port: number;
  /** Of the token endpoint. */
  readonly path: string;
  /** Ends after this time. */
  readonly seconds: number;
  /** And not before so many tokens. */
  readonly atLeast: number;
  readonly auth: BenchAuth;
  /** `iss` of who is asked. */
  readonly issuer: string;
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

/** Requests made beforehand, of any of the clients: as many as are sent in some seconds. Making them would be measured. */
const MAX_PREPARED = 50_000;

const BODY = 'grant_type=client_credentials';

/** Assertions made beforehand for a second: more than are used in one. */
const ASSERTIONS_PER_SECOND = 6000;

/** Seconds an assertion is good for: making them and the measurement take less. Issuers refuse more than 300. */
const ASSERTION_LIFETIME = 280;

process.on('message', async (task: Task) => {
  try {
    process.send?.({ measured: await measure(task) });
  } catch (error) {
    process.send?.({ failed: String(error) });
  }
});

async function measure(task: Task): Promise<Measured> {
  const { port, seconds, atLeast } = task;
  const nextRequest = task.auth === 'private_key_jwt' ? assertionRequests(task) : secretRequests(task);
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

/** Any of the clients, by its secret. */
function secretRequests({ port, path, clients }: Task): () => Buffer {
  const bytesOf = (n: number) => {
    const credentials = Buffer.from(`${clientId(n)}:${clientSecret(n)}`).toString('base64');
    return requestBytes({ port, path }, BODY, `Authorization: Basic ${credentials}`);
  };
  const prepared =
    clients <= MAX_PREPARED
      ? Array.from({ length: clients }, (_, n) => bytesOf(n))
      : Array.from({ length: MAX_PREPARED }, () => bytesOf(Math.floor(Math.random() * clients)));
  return () => prepared[Math.floor(Math.random() * prepared.length)] as Buffer;
}

/** Client 0, by an assertion that is used once (RFC 7523 §3). Made beforehand: signing is the client's work. */
function assertionRequests({ port, path, issuer, seconds, atLeast }: Task): () => Buffer {
  const { privateJwk } = clientKeys(0);
  const key = createPrivateKey({ key: privateJwk as JsonWebKey, format: 'jwk' });
  const id = clientId(0);
  const nowSeconds = Math.floor(Date.now() / 1000);
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const header = encode({ alg: 'ES256', kid: privateJwk.kid });
  const run = process.hrtime.bigint().toString(36);
  const count = Math.ceil(seconds * ASSERTIONS_PER_SECOND) + atLeast + CONNECTIONS;
  const prepared = Array.from({ length: count }, (_, n) => {
    const claims = { iss: id, sub: id, aud: issuer, iat: nowSeconds, exp: nowSeconds + ASSERTION_LIFETIME };
    const input = `${header}.${encode({ ...claims, jti: `${run}-${n}` })}`;
    const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
    const type = encodeURIComponent('urn:ietf:params:oauth:client-assertion-type:jwt-bearer');
    const assertion = `${input}.${signature.toString('base64url')}`;
    return requestBytes(
      { port, path },
      `${BODY}&client_assertion_type=${type}&client_assertion=${assertion}`,
    );
  });
  return () => {
    const next = prepared.pop();
    if (next === undefined)
      throw new Error('more assertions were used than were made; make more for a second');
    return next;
  };
}

function requestBytes(
  { port, path }: { port: number; path: string },
  body: string,
  ...headers: string[]
): Buffer {
  return Buffer.from(
    [
      `POST ${path} HTTP/1.1`,
      `Host: 127.0.0.1:${port}`,
      ...headers,
      'Content-Type: application/x-www-form-urlencoded',
      `Content-Length: ${body.length}`,
      '',
      body,
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
