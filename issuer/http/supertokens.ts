import { FleetgateError, isIdentifier, OAuthError } from '@fleetgate/shared';
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { checkChosenSecret } from '../chosen-secret.ts';
import { type Administrator, MAX_PAGE_CLIENTS } from '../clients.ts';
import type { Issuer } from '../open-issuer.ts';
import { administratorOf, guardAdminRoutes } from './admin-access.ts';
import { describe, errorBody, noteReason, sendError, statusOf } from './errors.ts';
import { paths } from './metadata.ts';
import { published } from './public.ts';
import { addRoute, type MethodRoute } from './routes.ts';
import {
  RecipeClient,
  RecipeClientUpdate,
  recipeView,
  toRegistration,
  toReplacement,
} from './supertokens-client.ts';
import { readRecipeInput } from './supertokens-input.ts';

/**
 * Versions of the Core Driver Interface, one for each generation of backend SDKs since clients of OAuth 2.0 are in it.
 * Their requests for these routes are the same.
 */
const CDI_VERSIONS = ['5.2', '5.3', '5.4'];

/** Clients on a page when no size is given, as in SuperTokens. */
const DEFAULT_PAGE_CLIENTS = 250;

const ClientId = Type.Object({ clientId: Type.String() });
const Page = Type.Object({
  pageSize: Type.Optional(Type.String()),
  pageToken: Type.Optional(Type.String()),
  clientName: Type.Optional(Type.String()),
});

/**
 * SuperTokens' admin routes, with its conventions: errors of the application are 200 with a `status`, malformed input
 * is 400 and a wrong key 401, both as text.
 */
export function supertokensRoutes(issuer: Issuer, adminKey: string): FastifyPluginAsync {
  return async (app) => {
    await app.register(keySetRoute(issuer));
    await app.register(guardedRoutes(issuer, adminKey));
  };
}

/** Where backend SDKs look for the keys to verify access tokens with: at the core, and without a key of theirs. */
function keySetRoute(issuer: Issuer): FastifyPluginAsync {
  return async (app) => {
    app.setErrorHandler(sendError);
    addTolerantRoute(app, paths.jwks, { GET: { handler: published(() => issuer.currentJwks()) } });
  };
}

function guardedRoutes(issuer: Issuer, adminKey: string): FastifyPluginAsync {
  return async (app) => {
    guardAdminRoutes(app, issuer, adminKey, { defaultRoles: ['admin', 'provisioner'] });
    readRecipeInput(app);
    app.setErrorHandler((error, request, reply) => {
      const status = statusOf(error);
      noteReason(error, request);
      if (status >= 500) request.log.error({ event: 'request_failed', err: error }, 'request failed');
      const description =
        error instanceof FleetgateError ? describe(error) : (errorBody(status).error_description ?? '');
      return reply.code(status).type('text/plain; charset=utf-8').send(description);
    });
    // The first that an SDK asks, once.
    addTolerantRoute(app, '/apiversion', {
      GET: { openTo: ['provisioner', 'auditor'], handler: () => ({ versions: CDI_VERSIONS }) },
    });
    await app.register(recipeRoutes(issuer), { prefix: '/recipe' });
  };
}

function recipeRoutes(issuer: Issuer): FastifyPluginAsync {
  return async (app) => {
    app.setNotFoundHandler((_request, reply) => reply.code(404).type('text/plain').send('Not found'));
    addTolerantRoute(app, '/oauth/clients', {
      POST: createClient(issuer),
      GET: showClient(issuer),
      PUT: updateClient(issuer),
    });
    addTolerantRoute(app, '/oauth/clients/list', { GET: listClients(issuer) });
    addTolerantRoute(app, '/oauth/clients/remove', { POST: removeClient(issuer) });
    addTolerantRoute(app, '/oauth/tokens/revoke', { POST: revokeTokens(issuer) });
    addTolerantRoute(app, '/oauth/introspect', { POST: introspectToken(issuer) });
  };
}

/** A trailing slash makes no difference. */
function addTolerantRoute(
  app: FastifyInstance,
  url: string,
  methods: Readonly<Record<string, MethodRoute>>,
): void {
  for (const each of [url, `${url}/`]) addRoute(app, each, methods);
}

function createClient(issuer: Issuer): MethodRoute {
  return {
    options: { schema: { body: RecipeClient } },
    handler: (request) => {
      const body = request.body as RecipeClient;
      const registration = toRegistration(body);
      return orOauthError(request, async () => {
        const { client, shown } = await issuer.clients.create(registration, administratorOf(request));
        return { status: 'OK', ...recipeView(client), ...shown };
      });
    },
  };
}

function updateClient(issuer: Issuer): MethodRoute {
  return {
    options: { schema: { body: RecipeClientUpdate } },
    handler: (request) => {
      const body = request.body as RecipeClientUpdate;
      const replacement = toReplacement(body);
      const { clientId, clientSecret } = body;
      const by = administratorOf(request);
      return orOauthError(request, async () => {
        // Before anything is changed: these are two acts.
        if (clientSecret !== undefined) checkChosenSecret(clientSecret);
        const client = await issuer.clientChanges.update(clientId, replacement, by);
        if (clientSecret === undefined) return { status: 'OK', ...recipeView(client) };
        // As in SuperTokens the old one ends at once.
        await issuer.secrets.rotate(clientId, { clientSecret, overlapSeconds: 0 }, by);
        return { status: 'OK', ...recipeView(client), clientSecret };
      });
    },
  };
}

function showClient(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: { schema: { querystring: ClientId } },
    async handler(request) {
      const { clientId } = request.query as Static<typeof ClientId>;
      const client = await issuer.clients.find(clientId);
      return client === undefined ? clientNotFound : { status: 'OK', ...recipeView(client) };
    },
  };
}

function listClients(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: { schema: { querystring: Page } },
    async handler(request) {
      const { pageSize, pageToken, clientName } = request.query as Static<typeof Page>;
      const { clients, nextAfter } = await issuer.clients.list({
        limit: readPageSize(pageSize),
        after: pageToken === undefined ? undefined : readPageToken(pageToken),
        // An empty one is none, as in SuperTokens.
        filter: clientName ? { name: clientName } : undefined,
      });
      return {
        status: 'OK',
        clients: clients.map(recipeView),
        ...(nextAfter === undefined
          ? {}
          : { nextPaginationToken: Buffer.from(nextAfter).toString('base64url') }),
      };
    },
  };
}

function removeClient(issuer: Issuer): MethodRoute {
  return {
    options: { schema: { body: ClientId } },
    async handler(request) {
      const { clientId } = request.body as Static<typeof ClientId>;
      return { status: 'OK', didExist: await issuer.clients.delete(clientId, administratorOf(request)) };
    },
  };
}

/** The one route that spells it `client_id`. */
function revokeTokens(issuer: Issuer): MethodRoute {
  return {
    options: { schema: { body: Type.Object({ client_id: Type.String() }) } },
    handler: (request) => {
      const { client_id: clientId } = request.body as { client_id: string };
      return revokeTokensOf(issuer, clientId, administratorOf(request));
    },
  };
}

/** Of any token. A scope that it is to have is the caller's to compare. */
function introspectToken(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: { schema: { body: Type.Object({ token: Type.String() }) } },
    async handler(request) {
      const { token } = request.body as { token: string };
      return { status: 'OK', ...(await issuer.inspectToken(token)) };
    },
  };
}

async function revokeTokensOf(issuer: Issuer, clientId: string, by: Administrator): Promise<object> {
  try {
    await issuer.revocations.revoke({ kind: 'client', clientId }, by);
    return { status: 'OK' };
  } catch (error) {
    if (!(error instanceof FleetgateError) || statusOf(error) >= 500) throw error;
    // An id that could not exist is as unknown as any other.
    return clientNotFound;
  }
}

const clientNotFound = { status: 'CLIENT_NOT_FOUND_ERROR' } as const;

/** Answers what the core refuses as SuperTokens answers what the server behind it refuses. */
async function orOauthError(request: FastifyRequest, act: () => Promise<object>): Promise<object> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof FleetgateError) || statusOf(error) >= 500) throw error;
    noteReason(error, request);
    if (error.code === 'client_unknown') return clientNotFound;
    return {
      status: 'OAUTH_ERROR',
      error: error.code === 'scope_malformed' ? 'invalid_scope' : 'invalid_request',
      errorDescription: describe(error),
      statusCode: statusOf(error),
    };
  }
}

function readPageSize(pageSize: string | undefined): number {
  if (pageSize === undefined) return DEFAULT_PAGE_CLIENTS;
  if (!/^[1-9]\d{0,8}$/.test(pageSize)) {
    throw new OAuthError('invalid_request', "Field name 'pageSize' must be an int in the GET request");
  }
  return Math.min(Number(pageSize), MAX_PAGE_CLIENTS);
}

function readPageToken(pageToken: string): string {
  const after = Buffer.from(pageToken, 'base64url').toString('utf8');
  if (!isIdentifier(after)) {
    throw new OAuthError('invalid_request', "Field name 'pageToken' is invalid in GET request");
  }
  return after;
}
