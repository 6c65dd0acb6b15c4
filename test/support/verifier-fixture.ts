import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Peer } from '../../verifier/verified-token.ts';
import {
  createVerifier,
  type Verifier,
  type VerifierOptions,
  type VerifyToken,
} from '../../verifier/verify.ts';

export interface Answer {
  /** Default 200. */
  status?: number;
  /** A string is sent as it is, all else as JSON. */
  body?: unknown;
  /** Over `content-type: application/json`. */
  headers?: Record<string, string>;
}

export interface HttpServer {
  readonly origin: string;
  readonly requests: readonly IncomingMessage[];
  /** Paths and queries of the requests, in order. */
  paths(): (string | undefined)[];
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A real HTTP server on loopback that lives for the test. */
export async function httpServer(handle: Handler): Promise<HttpServer> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    handle(request, response);
  });
  await new Promise<void>((listening) => {
    server.listen(0, '127.0.0.1', listening);
  });
  onTestFinished(
    () =>
      new Promise<void>((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  );
  const { port } = server.address() as AddressInfo;
  return { origin: `http://127.0.0.1:${port}`, requests, paths: () => requests.map(({ url }) => url) };
}

/** One that answers with JSON, or with nothing more once `answer` gives `undefined`. */
export function jsonServer(
  answer: (path: string, request: IncomingMessage) => Answer | undefined,
): Promise<HttpServer> {
  return httpServer((request, response) => {
    const given = answer(request.url ?? '', request);
    if (given === undefined) return void request.socket.destroy();
    const { status = 200, body = {}, headers = {} } = given;
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  });
}

/** A clock that goes where it is told to. */
export function fakeClock(startMs = 0): { readonly ms: () => number; pass(seconds: number): void } {
  let nowMs = startMs;
  return {
    ms: () => nowMs,
    pass(seconds) {
      nowMs += seconds * 1000;
    },
  };
}

export interface TestVerifier {
  readonly verify: Verifier;
  /** `accepted`, or the code of the refusal. */
  codeOf(token: string | Uint8Array, peer?: Peer): Promise<string>;
  readonly log: readonly { level: string; event?: string; kid?: string; problem?: string; issuer?: string }[];
}

/** A verifier of the audience `mqtt`, and what it logs. */
export function testVerifier(
  options: Partial<VerifierOptions> & Pick<VerifierOptions, 'issuers'>,
): TestVerifier {
  const log: TestVerifier['log'][number][] = [];
  const note = (level: string) => (line: object) => void log.push({ level, ...line });
  const verify = createVerifier({
    audience: 'mqtt',
    clockSkewSeconds: 5,
    now: Date.now,
    log: { debug: note('debug'), info: note('info'), warn: note('warn') },
    ...options,
  });
  return { verify, log, codeOf: (token, peer) => codeOf(verify, token, peer) };
}

/** What a verifier makes of a token: `accepted` or a code. What is no error of ours is shown whole. */
export async function codeOf(verify: VerifyToken, token: string | Uint8Array, peer?: Peer): Promise<string> {
  try {
    await verify(Buffer.from(token), peer);
    return 'accepted';
  } catch (error) {
    return (error as { code?: string }).code ?? `not one of ours: ${String(error)}`;
  }
}
