import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { LiveEvents } from './live-events.ts';
import { pageHeaders } from './page-headers.ts';
import { refuse } from './refuse.ts';

/** An idle connection is told something, so that what is between keeps it open. */
const KEEP_ALIVE_MS = 15_000;

/** Bytes that wait for who does not read. */
const MAX_UNREAD_BYTES = 1_048_576;

/** Streams of one sign-in at once, a tab each: a browser opens six to one host over HTTP/1.1. */
export const MAX_STREAMS_OF_ONE = 10;

/** Streams of all. */
export const MAX_STREAMS = 200;

export interface LiveRouteOptions {
  readonly live: LiveEvents;
  /** Whose request it is. The same object as long as the sign-in lasts. */
  readonly signInOf: (request: FastifyRequest) => object;
  /** Whether the sign-in of the request has ended, or its key is gone. */
  readonly isOver: (request: FastifyRequest) => Promise<boolean>;
}

/** `/live`: server-sent events. `Last-Event-ID` goes on behind that one. Ends with the sign-in, and with its key. */
export function liveRoute(app: FastifyInstance, { live, signInOf, isOver }: LiveRouteOptions): void {
  const ofEach = new WeakMap<object, number>();
  let streams = 0;

  function count(signIn: object, by: 1 | -1): void {
    streams += by;
    ofEach.set(signIn, (ofEach.get(signIn) ?? 0) + by);
  }

  app.get('/live', async (request, reply) => {
    if (await isOver(request)) return refuse(reply, 401, 'signed_out', 'sign in first');
    // Whoever went away meanwhile would never be counted back.
    if (reply.raw.destroyed) return reply.hijack();
    const signIn = signInOf(request);
    if (streams >= MAX_STREAMS || (ofEach.get(signIn) ?? 0) >= MAX_STREAMS_OF_ONE) {
      return refuse(reply, 429, 'busy', 'the console is open in too many tabs; close one of them');
    }
    count(signIn, 1);
    reply.raw.once('close', () => count(signIn, -1));
    stream(live, () => isOver(request), request, reply);
    return reply;
  });
}

function stream(
  live: LiveEvents,
  isOver: () => Promise<boolean>,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const last = Number(request.headers['last-event-id']);
  const gone = new AbortController();
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, {
    ...pageHeaders,
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  const beat = setInterval(() => {
    // Watching is no sign of life: who only watches is signed out like who does nothing.
    isOver().then(
      (over) => (over ? raw.end() : raw.write(': \n\n')),
      () => raw.destroy(),
    );
  }, KEEP_ALIVE_MS);
  raw.once('close', () => {
    clearInterval(beat);
    gone.abort();
  });
  live.follow(
    Number.isSafeInteger(last) && last > 0 ? last : undefined,
    ({ id, type, data }) => {
      // Who does not read is cut off, and goes on from where it was.
      if (raw.writableLength > MAX_UNREAD_BYTES) raw.destroy();
      else raw.write(`id: ${id}\nevent: ${type}\ndata: ${data}\n\n`);
    },
    gone.signal,
  );
}
