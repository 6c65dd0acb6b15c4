import type { Role } from '@fleetgate/issuer';
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import { explained } from '../explained.ts';
import { type AccessOptions, cellFor, decideFor, scopeNotesFor, sessionsOf, whoMay } from './access.ts';
import { type AskAdmin, askAdmin } from './ask-admin.ts';
import { auditRoutes } from './audit-routes.ts';
import { differenceFor, matrixFor } from './comparisons.ts';
import { sessionCookieOf, setSessionCookie } from './cookies.ts';
import type { LiveEvents } from './live-events.ts';
import { liveRoute } from './live-route.ts';
import type { Asked } from './looked-at.ts';
import { type OidcRoutesOptions, oidcRoutes } from './oidc/routes.ts';
import { pageHeaders } from './page-headers.ts';
import { pageRoutes } from './page-routes.ts';
import type { PolicyWork } from './policy-work.ts';
import { refuse } from './refuse.ts';
import { isSameOrigin } from './same-origin.ts';
import type { SignIn, SignIns } from './sign-ins.ts';

/** Acts on many at once, or on what all tokens hang on: the key is asked for once more before them. */
const massActions: readonly RegExp[] = [
  /^fleet\/(quarantine|release|revoke|delete)\b/,
  /^keys\//,
  /^revocations\b/,
  /^campaigns\b/,
  /^provisioning-jobs\b/,
  /^api-keys\b/,
  /^apps\b/,
  /^enrollments\b/,
];

const BASE = '/console/api';

/** What each code means. */
const texts = Object.fromEntries(explained.map(({ code, text }) => [code, text]));

export interface ConsoleOptions {
  /** Where the built page is. */
  readonly assets: string;
  readonly signIns: SignIns;
  readonly live: LiveEvents;
  readonly access: AccessOptions;
  readonly work: PolicyWork;
  /** What the page shows of itself: the roles that run. */
  readonly about: () => object;
  /** Unset: people sign in by a key alone. */
  readonly oidc?: Omit<OidcRoutesOptions, 'signIns'> | undefined;
  /** See `AuditRoutesOptions.stallMs`. */
  readonly stallMs?: number | undefined;
}

declare module 'fastify' {
  interface FastifyRequest {
    signIn?: SignIn;
  }
}

/**
 * The console at `/console/`: its page, and `/console/api/` behind a sign-in. What it asks of the admin API goes
 * through `/console/api/v1/`, where the key of the sign-in is put in; the page never has it.
 */
export function consoleRoutes(options: ConsoleOptions): FastifyPluginAsync {
  return async (app) => {
    app.get('/console', async (_request, reply) => reply.redirect('/console/', 308));
    await app.register(pageRoutes(options.assets), { prefix: '/console' });
    await app.register(api(app, options), { prefix: BASE });
    const { oidc, signIns } = options;
    if (oidc !== undefined) await app.register(oidcPages({ ...oidc, signIns }), { prefix: '/console/oidc' });
  };
}

function oidcPages(options: OidcRoutesOptions): FastifyPluginAsync {
  return async (app) => {
    app.addHook('onRequest', async (_request, reply) => {
      reply.headers(pageHeaders).header('cache-control', 'no-store');
    });
    await app.register(oidcRoutes(options));
  };
}

function api(root: FastifyInstance, options: ConsoleOptions): FastifyPluginAsync {
  const { signIns, live, access, about, oidc } = options;
  return async (app) => {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', { parseAs: 'buffer' }, async (_request: unknown, body: Buffer) => body);
    app.addHook('onRequest', async (request, reply) => {
      reply.headers(pageHeaders).header('cache-control', 'no-store');
      if (!isSameOrigin(request.method, request.headers)) {
        return refuse(reply, 403, 'cross_site', 'requests from other sites are refused');
      }
      const signIn = signIns.find(
        sessionCookieOf(request),
        request.headers['fleetgate-watching'] !== undefined,
      );
      if (signIn !== undefined) request.signIn = signIn;
      else if (!isOpen(request)) return signedOut(reply);
    });

    /** Name and role of a key, or undefined when it is none. */
    async function present(request: FastifyRequest, apiKey: string) {
      const { status, body } = await askAdmin(root, apiKey, request.ip)('/v1/whoami');
      return status === 200 ? (body as { name: string; role: Role }) : undefined;
    }

    /** Whether the key of the sign-in was deleted or has expired; then all that hang on it end. */
    async function isKeyGone(request: FastifyRequest): Promise<boolean> {
      const { apiKey } = request.signIn as SignIn;
      const { status } = await askAdmin(root, apiKey, request.ip)('/v1/whoami');
      if (status === 401) signIns.endAllOf(apiKey);
      return status === 401;
    }

    app.get('/sign-in', async () => ({
      ...(oidc === undefined ? {} : { oidc: { provider: new URL(oidc.issuer).host } }),
    }));

    app.post('/session', async (request, reply) => {
      const apiKey = keyIn(request.body);
      const key = apiKey === undefined ? undefined : await present(request, apiKey);
      if (apiKey === undefined || key === undefined) {
        return refuse(reply, 401, 'api_key_invalid', 'this is no admin API key, or it has expired');
      }
      signIns.end(sessionCookieOf(request));
      setSessionCookie(reply, signIns.begin({ apiKey, keyName: key.name, role: key.role }));
      return reply.send({ key: key.name, role: key.role, way: 'key', ...about() });
    });
    app.get('/session', async (request, reply) => {
      if (await isKeyGone(request)) return signedOut(reply);
      const { keyName, role, way, title } = request.signIn as SignIn;
      return reply.send({ key: keyName, role, way, title, ...about() });
    });
    app.delete('/session', async (request, reply) => {
      signIns.end(sessionCookieOf(request));
      setSessionCookie(reply, '');
      return reply.code(204).send();
    });
    app.post('/step-up', async (request, reply) => {
      const { signIn } = request;
      const apiKey = keyIn(request.body);
      if (signIn === undefined || apiKey === undefined || !signIns.stepUp(signIn, apiKey)) {
        return refuse(reply, 403, 'api_key_invalid', 'this is not the key you are signed in with');
      }
      return reply.code(204).send();
    });

    app.get('/codes', async () => texts);

    app.get<{ Params: { id: string } }>('/sessions/:id', async (request, reply) => {
      const ask = askAdmin(root, (request.signIn as SignIn).apiKey, request.ip);
      const asked: Asked = await sessionsOf(access, ask, request.params.id);
      if ('answer' in asked) return reply.send(asked.answer);
      return refuse(reply, asked.status, 'not_answered', asked.words);
    });

    const questions: Record<string, (ask: AskAdmin, question: unknown) => Promise<Asked>> = {
      '/decide': (ask, question) => decideFor(access, ask, question),
      '/who-may': (ask, question) => whoMay(access, ask, question),
      '/matrix': (ask, question) => matrixFor(options, ask, question),
      '/matrix/cell': (ask, question) => cellFor(access, ask, question),
      '/scope-notes': (ask, question) => scopeNotesFor(access, ask, question),
      '/difference': (ask, question) => differenceFor(options, ask, question),
    };
    for (const [path, answerTo] of Object.entries(questions)) {
      app.post(path, async (request, reply) => {
        const ask = askAdmin(root, (request.signIn as SignIn).apiKey, request.ip);
        const asked: Asked = await answerTo(ask, jsonIn(request.body));
        if ('answer' in asked) return reply.send(asked.answer);
        return refuse(reply, asked.status, asked.code ?? 'not_answered', asked.words);
      });
    }

    auditRoutes(app, {
      asker: (request) => askAdmin(root, (request.signIn as SignIn).apiKey, request.ip),
      isOver: (request) => signIns.isOver(sessionCookieOf(request)),
      stallMs: options.stallMs,
    });

    liveRoute(app, {
      live,
      signInOf: (request) => request.signIn as SignIn,
      isOver: async (request) => signIns.isOver(sessionCookieOf(request)) || isKeyGone(request),
    });

    app.route<{ Params: { '*': string } }>({
      method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
      url: '/v1/*',
      handler: async (request, reply) => {
        const signIn = request.signIn as SignIn;
        const url = request.raw.url as string;
        if (!url.startsWith(`${BASE}/v1/`) || !isResolved(url)) {
          return refuse(reply, 404, 'not_found', 'no such route');
        }
        const isChange = request.method !== 'GET';
        if (
          isChange &&
          massActions.some((one) => one.test(request.params['*'])) &&
          !signIns.isSteppedUp(signIn)
        ) {
          return refuse(reply, 403, 'step_up_required', 'prove once more who you are');
        }
        const passed = ['content-type', 'if-match', 'idempotency-key', 'accept'] as const;
        const headers = Object.fromEntries(
          passed.flatMap((name) =>
            request.headers[name] === undefined ? [] : [[name, request.headers[name]]],
          ),
        );
        const answer = await root.inject({
          method: request.method as 'GET',
          // As it came: what is encoded in it stays so.
          url: url.slice(BASE.length),
          headers: { ...headers, 'api-key': signIn.apiKey },
          ...(request.body === undefined ? {} : { payload: request.body as Buffer }),
          remoteAddress: request.ip,
        });
        // The key was revoked or has expired: nobody is signed in with it any more.
        if (answer.statusCode === 401) signIns.endAllOf(signIn.apiKey);
        for (const name of ['content-type', 'etag', 'location', 'idempotency-replayed', 'retry-after']) {
          const value = answer.headers[name];
          if (value !== undefined) reply.header(name, value);
        }
        return reply.code(answer.statusCode).send(answer.rawPayload);
      },
    });
  };
}

/** What is there before anybody has signed in. */
function isOpen({ method, routeOptions }: FastifyRequest): boolean {
  const { url } = routeOptions;
  return (url === `${BASE}/session` && method === 'POST') || (url === `${BASE}/sign-in` && method === 'GET');
}

const signedOut = (reply: FastifyReply) => refuse(reply, 401, 'signed_out', 'sign in first');

/** Whether the path is what a request with it asks for: by `..` it would be another one than was looked at here. */
function isResolved(url: string): boolean {
  const [path] = url.split(/[?#]/);
  return new URL(url, 'http://x').pathname === path;
}

function keyIn(body: unknown): string | undefined {
  const { api_key: key } = (jsonIn(body) ?? {}) as { api_key?: unknown };
  return typeof key === 'string' && key.length > 0 && key.length <= 512 && /^[\x21-\x7e]+$/.test(key)
    ? key
    : undefined;
}

function jsonIn(body: unknown): unknown {
  try {
    return JSON.parse(String(body));
  } catch {
    return undefined;
  }
}
