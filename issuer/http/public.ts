import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import type { Issuer } from '../open-issuer.ts';
import { tokenEndpointPaths } from '../token-endpoint-paths.ts';
import { certificateOf } from './connection-certificate.ts';
import { enrollEndpoint } from './enroll-route.ts';
import { metadata, paths } from './metadata.ts';
import { keepBodiesRaw } from './raw-body.ts';
import { type FeedOptions, revocationStream } from './revocation-stream.ts';
import { addRoute, callerOf, type Handler } from './routes.ts';
import {
  type HttpClientRequest,
  type RawBody,
  readHeldTokenRequest,
  readTokenRequest,
  toCamelCase,
} from './token-request.ts';

/**
 * Seconds a verifier may keep the key set and metadata. Ours: a key is to be published that long before its first use.
 */
const MAX_AGE_SECONDS = 60;

interface PublicOptions extends FeedOptions {
  readonly configuredUrl: string | undefined;
  /** Methods of authentication by certificate that the listener can tell. Default: none. */
  readonly byCertificate?: readonly string[];
}

/** The public listener: token endpoint, keys, revocations, metadata and health. Translates, and decides nothing. */
export function publicRoutes(
  issuer: Issuer,
  { configuredUrl, byCertificate, ...feed }: PublicOptions,
): FastifyPluginAsync {
  return async (app) => {
    keepBodiesRaw(app);
    // Behind a proxy that keeps the path of the issuer's URL as well as behind one that strips it.
    const path = configuredUrl === undefined ? '' : new URL(configuredUrl).pathname.replace(/\/+$/, '');
    const everywhere = (...urls: string[]) => new Set(urls.flatMap((url) => [url, `${path}${url}`]));

    for (const url of everywhere(...tokenEndpointPaths)) {
      addRoute(app, url, { POST: { handler: tokenEndpoint(issuer) } });
    }
    for (const url of everywhere(paths.revoke, '/auth/oauth/revoke')) {
      addRoute(app, url, { POST: { handler: revocationEndpoint(issuer) } });
    }
    for (const url of everywhere(paths.introspect, '/auth/oauth/introspect')) {
      addRoute(app, url, { POST: { handler: introspectionEndpoint(issuer) } });
    }
    for (const url of everywhere(paths.enroll)) {
      addRoute(app, url, { POST: { handler: enrollEndpoint(issuer) } });
    }
    const stream = revocationStream(app, issuer, feed);
    for (const url of everywhere(paths.revocations)) addRoute(app, url, { GET: stream });
    for (const url of everywhere(paths.jwks, '/auth/jwt/jwks.json')) {
      addRoute(app, url, { GET: { handler: published(() => issuer.currentJwks()) } });
    }
    // RFC 8414 §3.1 puts the path behind the well-known part; OpenID Connect Discovery §4 before it.
    for (const url of everywhere(paths.oauthMetadata, paths.openidMetadata).add(
      `${paths.oauthMetadata}${path}`,
    )) {
      addRoute(app, url, { GET: { handler: published(async () => metadata(issuer.url(), byCertificate)) } });
    }
    addRoute(app, '/livez', {
      GET: { handler: async (_request, reply) => reply.headers(uncached).send({ status: 'ok' }) },
    });
    addRoute(app, '/readyz', {
      GET: {
        handler: async (_request, reply) => {
          const isReady = await issuer.isReady();
          return reply
            .code(isReady ? 200 : 503)
            .headers(uncached)
            .send({ status: isReady ? 'ok' : 'unavailable' });
        },
      },
    });
  };
}

// Of another moment it would be worse than none.
const uncached = { 'cache-control': 'no-store' } as const;

function tokenEndpoint(issuer: Issuer): Handler {
  return async (request, reply) => {
    const http = clientRequestOf(request);
    let read: ReturnType<typeof readTokenRequest>;
    try {
      read = readTokenRequest(http);
    } catch (error) {
      return await issuer.refuse(error, http.caller);
    }
    const response = await issuer.issue(read.request);
    // RFC 6749 §5.1.
    return reply
      .headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
      .send(read.isCamelCase ? toCamelCase(response) : response);
  };
}

function revocationEndpoint(issuer: Issuer): Handler {
  return async (request, reply) => {
    const http = clientRequestOf(request);
    let read: ReturnType<typeof readHeldTokenRequest>;
    try {
      read = readHeldTokenRequest(http);
    } catch (error) {
      return await issuer.refuse(error, http.caller, 'token.revoke');
    }
    await issuer.revokeToken(read);
    return reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' }).send();
  };
}

function introspectionEndpoint(issuer: Issuer): Handler {
  return async (request, reply) => {
    const http = clientRequestOf(request);
    let read: ReturnType<typeof readHeldTokenRequest>;
    try {
      read = readHeldTokenRequest(http);
    } catch (error) {
      return await issuer.refuse(error, http.caller, 'token.introspect');
    }
    const answer = await issuer.introspectToken(read);
    return reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' }).send(answer);
  };
}

function clientRequestOf(request: FastifyRequest): HttpClientRequest {
  return {
    body: request.body as RawBody | undefined,
    // A fragment has no place in a request at all, and would reach the route too.
    hasQuery: /[?#]/.test(request.url),
    isAmbiguous: isRepeated(request, 'authorization') || isRepeated(request, 'content-type'),
    authorization: request.headers.authorization,
    certificate: certificateOf(request),
    caller: callerOf(request),
  };
}

// Node goes by the first of them; whoever stands before it may go by the last.
function isRepeated({ raw }: FastifyRequest, header: string): boolean {
  const { rawHeaders } = raw;
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (name.length === header.length && name.toLowerCase() === header) count += 1;
  }
  return count > 1;
}

/** What anybody may read and keep for a while, also a page in a browser. */
export function published(read: () => Promise<unknown>): Handler {
  return async (_request, reply) =>
    reply
      .headers({
        'cache-control': `public, max-age=${MAX_AGE_SECONDS}`,
        'access-control-allow-origin': '*',
      })
      .send(await read());
}
