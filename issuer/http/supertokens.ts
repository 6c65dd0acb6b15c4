import { randomUUID } from 'node:crypto';
import { FleetgateError, OAuthError } from '@fleetgate/shared';
import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import type { Administrator, ClientRegistration, RegisteredClient } from '../clients.ts';
import type { Issuer } from '../open-issuer.ts';
import { administratorOf, guardAdminRoutes } from './admin-access.ts';
import { describe, errorBody, statusOf } from './errors.ts';
import { addRoute, type MethodRoute } from './routes.ts';
import { schemaCompiler } from './schema.ts';

const text = Type.Optional(Type.String());
const texts = Type.Optional(Type.Array(Type.String()));
const textsOrNull = Type.Optional(Type.Union([Type.Array(Type.String()), Type.Null()]));
const lifespan = Type.Optional(Type.Union([Type.String(), Type.Null()]));

/** What the client credentials grant does not use: kept, and echoed; here with what SuperTokens echoes by default. */
const echoed = {
  redirectUris: textsOrNull,
  enableRefreshTokenRotation: Type.Optional(Type.Boolean()),
  authorizationCodeGrantAccessTokenLifespan: lifespan,
  authorizationCodeGrantIdTokenLifespan: lifespan,
  authorizationCodeGrantRefreshTokenLifespan: lifespan,
  clientCredentialsGrantAccessTokenLifespan: lifespan,
  implicitGrantAccessTokenLifespan: lifespan,
  implicitGrantIdTokenLifespan: lifespan,
  refreshTokenGrantAccessTokenLifespan: lifespan,
  refreshTokenGrantIdTokenLifespan: lifespan,
  refreshTokenGrantRefreshTokenLifespan: lifespan,
  clientUri: text,
  allowedCorsOrigins: texts,
  responseTypes: textsOrNull,
  logoUri: text,
  policyUri: text,
  tosUri: text,
};
const defaults: Readonly<Record<keyof typeof echoed, unknown>> = {
  redirectUris: null,
  enableRefreshTokenRotation: false,
  authorizationCodeGrantAccessTokenLifespan: null,
  authorizationCodeGrantIdTokenLifespan: null,
  authorizationCodeGrantRefreshTokenLifespan: null,
  clientCredentialsGrantAccessTokenLifespan: null,
  implicitGrantAccessTokenLifespan: null,
  implicitGrantIdTokenLifespan: null,
  refreshTokenGrantAccessTokenLifespan: null,
  refreshTokenGrantIdTokenLifespan: null,
  refreshTokenGrantRefreshTokenLifespan: null,
  clientUri: '',
  allowedCorsOrigins: [],
  responseTypes: null,
  logoUri: '',
  policyUri: '',
  tosUri: '',
};

/** SuperTokens' fields. Others are ignored, as SuperTokens does. */
const RecipeClient = Type.Object({
  clientId: text,
  clientName: text,
  clientSecret: text,
  scope: text,
  audience: texts,
  grantTypes: texts,
  tokenEndpointAuthMethod: text,
  metadata: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  ...echoed,
});
type RecipeClient = Static<typeof RecipeClient>;

/**
 * SuperTokens' admin routes, with its conventions: errors of the application are 200 with a `status`, malformed input
 * is 400 and a wrong key 401, both as text.
 */
export function recipeRoutes(issuer: Issuer, adminKey: string): FastifyPluginAsync {
  return async (app) => {
    guardAdminRoutes(app, issuer, adminKey);
    app.setValidatorCompiler(schemaCompiler);
    app.setErrorHandler((error, request, reply) => {
      const status = statusOf(error);
      if (status >= 500) request.log.error({ err: error }, 'request failed');
      const description =
        error instanceof FleetgateError ? describe(error) : (errorBody(status).error_description ?? '');
      return reply.code(status).type('text/plain; charset=utf-8').send(description);
    });
    app.setNotFoundHandler((_request, reply) => reply.code(404).type('text/plain').send('Not found'));
    const create = {
      options: { schema: { body: RecipeClient } },
      handler: (request: FastifyRequest) =>
        createClient(issuer, request.body as RecipeClient, administratorOf(request)),
    };
    const remove = {
      options: { schema: { body: Type.Object({ clientId: Type.String() }) } },
      handler: async (request: FastifyRequest) => {
        const { clientId } = request.body as { clientId: string };
        return { status: 'OK', didExist: await issuer.clients.delete(clientId, administratorOf(request)) };
      },
    };
    const revokeTokens = {
      options: { schema: { body: Type.Object({ client_id: Type.String() }) } },
      handler: (request: FastifyRequest) => {
        const { client_id: clientId } = request.body as { client_id: string };
        return revokeTokensOf(issuer, clientId, administratorOf(request));
      },
    };
    const tolerant = (url: string, post: MethodRoute) => {
      for (const each of [url, `${url}/`]) addRoute(app, each, { POST: post });
    };
    tolerant('/oauth/clients', create);
    tolerant('/oauth/clients/remove', remove);
    tolerant('/oauth/tokens/revoke', revokeTokens);
  };
}

async function revokeTokensOf(issuer: Issuer, clientId: string, by: Administrator): Promise<object> {
  try {
    await issuer.revocations.revoke({ kind: 'client', clientId }, by);
    return { status: 'OK' };
  } catch (error) {
    if (!(error instanceof FleetgateError) || statusOf(error) >= 500) throw error;
    // An id that could not exist is as unknown as any other.
    return { status: 'CLIENT_NOT_FOUND_ERROR' };
  }
}

async function createClient(issuer: Issuer, body: RecipeClient, by: Administrator): Promise<object> {
  const registration = toRegistration(body);
  try {
    if (body.clientSecret !== undefined) {
      throw new FleetgateError('not_supported', 'clientSecret cannot be chosen; the answer holds a new one');
    }
    return { status: 'OK', ...view(await issuer.clients.create(registration, by)) };
  } catch (error) {
    if (!(error instanceof FleetgateError) || statusOf(error) >= 500) throw error;
    return {
      status: 'OAUTH_ERROR',
      error: error.code === 'scope_malformed' ? 'invalid_scope' : 'invalid_request',
      errorDescription: describe(error),
      statusCode: statusOf(error),
    };
  }
}

function toRegistration(body: RecipeClient): ClientRegistration {
  const lifespan = body.clientCredentialsGrantAccessTokenLifespan ?? undefined;
  return {
    clientId: body.clientId ?? `stcl_${randomUUID()}`,
    name: body.clientName,
    scope: body.scope,
    audience: body.audience,
    authMethod: body.tokenEndpointAuthMethod,
    grantTypes: body.grantTypes,
    metadata: body.metadata,
    tokenLifetimeSeconds: lifespan === undefined ? undefined : lifespanSeconds(lifespan),
    supertokens: Object.fromEntries(
      Object.keys(echoed)
        .map((field) => [field, body[field as keyof typeof echoed]])
        .filter(([, value]) => value !== undefined),
    ),
  };
}

const unitSeconds: ReadonlyMap<string, number> = new Map([
  ['h', 3600],
  ['m', 60],
  ['s', 1],
]);

/** Seconds of a lifespan such as `1h`, `30m` or `1h30m`. */
function lifespanSeconds(lifespan: string): number {
  if (!/^(\d{1,7}[hms])+$/.test(lifespan)) {
    throw new OAuthError(
      'invalid_request',
      'clientCredentialsGrantAccessTokenLifespan must be like 1h, 30m or 90s',
    );
  }
  let seconds = 0;
  for (const [, count, unit = ''] of lifespan.matchAll(/(\d+)([hms])/g)) {
    seconds += Number(count) * (unitSeconds.get(unit) ?? 0);
  }
  return seconds;
}

/** The client as SuperTokens answers it, with each of its fields. */
function view({ client, clientSecret }: RegisteredClient) {
  return {
    clientId: client.clientId,
    ...(clientSecret && { clientSecret }),
    clientName: client.name ?? '',
    scope: client.scope,
    ...defaults,
    ...client.supertokens,
    tokenEndpointAuthMethod: client.authMethod,
    audience: client.audience,
    grantTypes: client.grantTypes,
    createdAt: new Date(client.createdAtMs).toISOString(),
    updatedAt: new Date(client.updatedAtMs).toISOString(),
    metadata: client.metadata,
  };
}
