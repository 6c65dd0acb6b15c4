import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { formatRevocation, MAX_CURSOR_LENGTH, OAuthError, type Revocation, revokes } from '@fleetgate/shared';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import type { Issuer } from '../open-issuer.ts';
import type { OwnToken } from '../own-token.ts';
import { certificateOf } from './connection-certificate.ts';
import { describe } from './errors.ts';
import { toWire } from './revocation-wire.ts';
import type { MethodRoute } from './routes.ts';
import { schemaCompiler } from './schema.ts';

/** What a reader of the feed must be registered for. */
export const FEED_SCOPE = 'fleetgate.revocations';

/** Milliseconds after which a reader comes back by itself (`retry` of the event stream). */
const RETRY_MS = 1000;

export interface FeedOptions {
  /** Between two comments on a connection with no events. */
  readonly heartbeatSeconds: number;
  readonly maxReaders: number;
  /** How long a reader may read nothing before it is cut off. */
  readonly drainTimeoutSeconds: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

const Query = Type.Object(
  { after: Type.Optional(Type.String({ maxLength: MAX_CURSOR_LENGTH })) },
  { additionalProperties: false },
);

/**
 * `GET /revocations`: what was revoked and what is revoked from now on, as server-sent events
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html). `ready` says that all up to now has been told.
 */
export function revocationStream(app: FastifyInstance, issuer: Issuer, options: FeedOptions): MethodRoute {
  /** Who follows, the longest first, and by whose token. */
  const readers = new Map<AbortController, string>();
  let isClosing = false;
  // The server waits for what is in flight, and this would be for ever.
  app.addHook('preClose', async () => {
    isClosing = true;
    for (const reader of readers.keys()) reader.abort();
  });

  /** Whether there is a place for one more. */
  function makeRoom(clientId: string): boolean {
    if (isClosing) return false;
    if (readers.size < options.maxReaders) return true;
    const crowd = crowdOf(readers, clientId);
    if (crowd === undefined) return false;
    crowd.abort();
    return readers.delete(crowd);
  }

  return {
    options: { schema: { querystring: Query }, validatorCompiler: schemaCompiler },
    async handler(request, reply) {
      const token = await authenticate(request, reply, issuer);
      if (request.method === 'HEAD') return reply.headers(streamHeaders).send();
      if (!makeRoom(token.clientId)) {
        throw new OAuthError('temporarily_unavailable', 'too many readers follow the revocations');
      }
      const ending = new AbortController();
      readers.set(ending, token.clientId);
      reply.hijack();
      const line = { client: token.clientId, address: request.socket.remoteAddress };
      request.log.info({ event: 'reader_follows', ...line }, 'a reader follows the revocations');
      try {
        await serve({ issuer, token, after: cursorOf(request), response: reply.raw, ending, options });
      } catch (error) {
        request.log.warn(
          { event: 'reader_failed', ...line, err: error },
          'the revocations cannot be told to a reader',
        );
      } finally {
        readers.delete(ending);
        reply.raw.end();
        request.log.info({ event: 'reader_gone', ...line }, 'a reader of the revocations has gone');
      }
    },
  };
}

/**
 * The one that has to go for a reader of `clientId` where all places are taken: the longest of the client that has the
 * most, if that leaves it no fewer than who comes. So no client keeps others out, however often it follows.
 */
function crowdOf(
  readers: ReadonlyMap<AbortController, string>,
  clientId: string,
): AbortController | undefined {
  const counts = new Map<string, number>();
  for (const one of readers.values()) counts.set(one, (counts.get(one) ?? 0) + 1);
  const most = Math.max(...counts.values());
  if (most < (counts.get(clientId) ?? 0) + 2) return undefined;
  for (const [reader, one] of readers) if (counts.get(one) === most) return reader;
  return undefined;
}

const streamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  // Asks a proxy in front not to collect events before it passes them on.
  'x-accel-buffering': 'no',
} as const;

/** Who reads; a refusal is answered as RFC 6750 §3 has it. */
async function authenticate(
  request: FastifyRequest,
  reply: FastifyReply,
  { access }: Issuer,
): Promise<OwnToken> {
  const { authorization } = request.headers;
  try {
    return await access.authenticate(authorization, FEED_SCOPE, certificateOf(request));
  } catch (error) {
    if (error instanceof OAuthError) reply.header('www-authenticate', challenge(authorization, error));
    throw error;
  }
}

function challenge(authorization: string | undefined, error: OAuthError): string {
  const scheme = `Bearer realm="fleetgate", scope="${FEED_SCOPE}"`;
  // No error for a request that shows no token at all: it may not have known that it needs one.
  if (authorization === undefined) return scheme;
  return `${scheme}, error="${error.code}", error_description="${describe(error)}"`;
}

/** A reader that comes back says in `Last-Event-ID` where it was, and its URL still says where it began. */
function cursorOf({ headers, query }: FastifyRequest): string | undefined {
  const last = headers['last-event-id'];
  return typeof last === 'string' && last !== '' ? last : (query as Static<typeof Query>).after;
}

interface Reader {
  readonly issuer: Issuer;
  readonly token: OwnToken;
  readonly after: string | undefined;
  readonly response: ServerResponse;
  readonly ending: AbortController;
  readonly options: FeedOptions;
}

/** Serves one reader until it goes, its token ends, or the server closes. */
async function serve(reader: Reader): Promise<void> {
  const { token, response, ending, options } = reader;
  const end = () => ending.abort();
  response.once('close', end);
  // A write to a connection that is just going; without a listener it would end the process.
  response.on('error', end);
  const expiry = setTimeout(end, token.claims.exp * 1000 - options.now());
  const heartbeat = setInterval(() => {
    if (!response.writableNeedDrain) response.write(': alive\n\n');
  }, options.heartbeatSeconds * 1000);
  try {
    response.writeHead(200, streamHeaders);
    response.write(`retry: ${RETRY_MS}\n\n`);
    await tell(reader);
  } finally {
    clearTimeout(expiry);
    clearInterval(heartbeat);
    response.off('close', end);
  }
}

async function tell({ issuer, token, after, response, ending, options }: Reader): Promise<void> {
  const { signal } = ending;
  const { claims, keyId } = token;
  let isReady = false;
  for await (const { revocations, isCurrent } of issuer.revocationFeed.follow({ after, signal })) {
    const events = revocations.map(toWire);
    if (events.length > 0) response.write(events.map(eventOf).join(''));
    if (isCurrent && !isReady) {
      isReady = true;
      response.write('event: ready\ndata: {}\n\n');
    }
    // Told, and then held to it.
    if (events.some((event) => revokes(event, { ...claims, kid: keyId }))) return;
    if (response.writableNeedDrain) await drained(response, signal, options.drainTimeoutSeconds);
  }
}

function eventOf(revocation: Revocation): string {
  return `id: ${revocation.cursor}\ndata: ${formatRevocation(revocation)}\n\n`;
}

/** Waits until the reader has read; one that does not is cut off, so that no more than one batch waits for it. */
async function drained(response: ServerResponse, signal: AbortSignal, timeoutSeconds: number): Promise<void> {
  const timeout = setTimeout(() => response.destroy(), timeoutSeconds * 1000);
  try {
    await once(response, 'drain', { signal });
  } catch {
    // It is gone, or is to go: whoever waits for more revocations sees that.
  } finally {
    clearTimeout(timeout);
  }
}
