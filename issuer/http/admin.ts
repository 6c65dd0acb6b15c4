import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { FleetgateError, isIdentifier, OAuthError } from '@fleetgate/shared';
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { MAX_PAGE_CLIENTS } from '../clients.ts';
import type { Issuer } from '../open-issuer.ts';
import type { NewClientRecord } from '../registry/registry.ts';
import { administratorOf, guardAdminRoutes } from './admin-access.ts';
import { clientAuthFields, readClientAuthFields, viewClientAuth } from './client-auth-fields.ts';
import { errorBody, sendError } from './errors.ts';
import { revocationRoutes } from './revocation-routes.ts';
import { addRoute, type MethodRoute } from './routes.ts';
import { schemaCompiler } from './schema.ts';
import { recipeRoutes } from './supertokens.ts';

/** Clients on a page when no limit is given. */
const DEFAULT_PAGE_CLIENTS = 100;

/** The body of `POST /v1/clients`. Limits and meaning are the core's; this is the shape. */
const NewClient = Type.Object(
  {
    client_id: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
    scope: Type.Optional(Type.String()),
    audience: Type.Optional(Type.Array(Type.String())),
    auth_method: Type.Optional(Type.String()),
    group: Type.Optional(Type.String()),
    labels: Type.Optional(Type.Record(Type.String(), Type.String())),
    metadata: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    token_lifetime_seconds: Type.Optional(Type.Integer()),
    ...clientAuthFields,
  },
  { additionalProperties: false },
);

const Page = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE_CLIENTS })),
    cursor: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);

/** The admin API, for the listener that the composition root owns: `/v1` and SuperTokens' `/recipe`. */
export function adminRoutes(issuer: Issuer, adminKey: string): FastifyPluginAsync {
  return async (app) => {
    await app.register(
      async (v1) => {
        guardAdminRoutes(v1, issuer, adminKey);
        v1.setErrorHandler(sendError);
        v1.setNotFoundHandler((_request, reply) => reply.code(404).send(errorBody(404)));
        v1.setValidatorCompiler(schemaCompiler);
        clientRoutes(v1.withTypeProvider<TypeBoxTypeProvider>(), issuer);
        revocationRoutes(v1.withTypeProvider<TypeBoxTypeProvider>(), issuer);
      },
      { prefix: '/v1' },
    );
    await app.register(recipeRoutes(issuer, adminKey), { prefix: '/recipe' });
  };
}

function clientRoutes(app: FastifyInstance, issuer: Issuer): void {
  addRoute(app, '/issuer', { GET: { handler: () => ({ issuer: issuer.url() }) } });
  addRoute(app, '/clients', { POST: createClient(issuer), GET: listClients(issuer) });
  addRoute(app, '/clients/:client_id', { GET: showClient(issuer), DELETE: deleteClient(issuer) });
}

function createClient(issuer: Issuer): MethodRoute {
  return {
    options: { schema: { body: NewClient } },
    async handler(request, reply) {
      const body = request.body as Static<typeof NewClient>;
      const { client, clientSecret } = await issuer.clients.create(
        {
          clientId: body.client_id,
          name: body.name,
          scope: body.scope,
          audience: body.audience,
          authMethod: body.auth_method,
          ...readClientAuthFields(body),
          group: body.group,
          labels: body.labels,
          metadata: body.metadata,
          tokenLifetimeSeconds: body.token_lifetime_seconds,
        },
        administratorOf(request),
      );
      return reply
        .code(201)
        .header('location', `/v1/clients/${client.clientId}`)
        .send({ ...view(client, issuer), ...(clientSecret && { client_secret: clientSecret }) });
    },
  };
}

function listClients(issuer: Issuer): MethodRoute {
  return {
    options: { schema: { querystring: Page } },
    async handler(request) {
      const { limit = DEFAULT_PAGE_CLIENTS, cursor } = request.query as Static<typeof Page>;
      const after = cursor === undefined ? undefined : readCursor(cursor);
      const { clients, nextAfter } = await issuer.clients.list({ limit, after });
      return {
        clients: clients.map((client) => view(client, issuer)),
        ...(nextAfter === undefined ? {} : { next_cursor: Buffer.from(nextAfter).toString('base64url') }),
      };
    },
  };
}

function showClient(issuer: Issuer): MethodRoute {
  return {
    async handler(request) {
      const client = await issuer.clients.find(clientIdOf(request));
      return client === undefined ? unknownClient() : view(client, issuer);
    },
  };
}

function deleteClient(issuer: Issuer): MethodRoute {
  return {
    async handler(request, reply) {
      const isDeleted = await issuer.clients.delete(clientIdOf(request), administratorOf(request));
      return isDeleted ? reply.code(204).send() : unknownClient();
    },
  };
}

/** A client as the API shows it: one flat object, never with a secret. */
function view(client: NewClientRecord, { defaultAudience }: Issuer) {
  return {
    client_id: client.clientId,
    ...(client.name === undefined ? {} : { name: client.name }),
    scope: client.scope,
    audience: client.audience.length > 0 ? client.audience : defaultAudience,
    auth_method: client.authMethod,
    ...viewClientAuth(client),
    ...(client.group === undefined ? {} : { group: client.group }),
    labels: client.labels,
    metadata: client.metadata,
    ...(client.tokenLifetimeSeconds === undefined
      ? {}
      : { token_lifetime_seconds: client.tokenLifetimeSeconds }),
    created_at: new Date(client.createdAtMs).toISOString(),
    updated_at: new Date(client.updatedAtMs).toISOString(),
  };
}

function readCursor(cursor: string): string {
  const after = Buffer.from(cursor, 'base64url').toString('utf8');
  if (!isIdentifier(after)) throw new OAuthError('invalid_request', 'cursor is not one of this list');
  return after;
}

const clientIdOf = ({ params }: FastifyRequest) => (params as { client_id: string }).client_id;

function unknownClient(): never {
  throw new FleetgateError('client_unknown', 'there is no such client');
}
