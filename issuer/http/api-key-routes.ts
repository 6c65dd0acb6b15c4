import { FleetgateError } from '@fleetgate/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { MAX_OVERLAP_SECONDS } from '../api-keys.ts';
import type { Issuer } from '../open-issuer.ts';
import type { ApiKeyRecord } from '../registry/api-keys.ts';
import { roles } from '../roles.ts';
import { administratorOf } from './admin-access.ts';
import { readMoment } from './moment.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';

const moment = (description: string) => Type.String({ format: 'date-time', description });
const role = Type.Enum(roles, { description: 'what it may do' });

const NewApiKey = Type.Object(
  {
    name: Type.String({ description: '`[A-Za-z0-9._-]{1,64}`; stands in the audit trail' }),
    role,
    expires_at: Type.Optional(
      Type.Union([Type.Integer(), Type.String()], {
        description: 'seconds since 1970, or RFC 3339. Default: it does not expire',
      }),
    ),
  },
  { additionalProperties: false },
);

const Rotation = Type.Object(
  {
    expires_at: Type.Optional(
      Type.Union([Type.Integer(), Type.String()], {
        description:
          'seconds since 1970, or RFC 3339. Default: as long from now as the old key had from when it was made',
      }),
    ),
    overlap_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_OVERLAP_SECONDS,
        description: 'how long the old key is still taken. Default: 0',
      }),
    ),
  },
  { additionalProperties: false },
);

const ApiKey = Type.Object(
  {
    name: Type.String(),
    role,
    created_at: moment('when the name was made'),
    rotated_at: moment('when this key was made'),
    expires_at: Type.Optional(moment('from when on it is refused')),
    previous_until: Type.Optional(moment('until when the key before is still taken')),
    last_used_at: Type.Optional(moment('when it was used last, to the minute')),
  },
  { $id: 'ApiKey' },
);
const MadeApiKey = Type.Object(
  {
    ...ApiKey.properties,
    api_key: Type.String({ description: 'the key, shown this once' }),
  },
  { $id: 'MadeApiKey' },
);

const tags = ['API keys'];
const params = Type.Object({ name: Type.String() });

/** `/v1/api-keys`. The key in `admin.key` is none of them: it opens an empty registry, and is changed on disk. */
export function apiKeyRoutes(app: FastifyInstance, issuer: Issuer): void {
  app.addSchema(ApiKey);
  app.addSchema(MadeApiKey);
  addRoute(app, '/api-keys', { POST: createKey(issuer), GET: listKeys(issuer) });
  addRoute(app, '/api-keys/:name', { GET: showKey(issuer), DELETE: deleteKey(issuer) });
  addRoute(app, '/api-keys/:name/rotate', { POST: rotateKey(issuer) });
}

function createKey(issuer: Issuer): MethodRoute {
  return {
    openTo: [],
    options: {
      schema: {
        tags,
        operationId: 'createApiKey',
        summary: 'Make an API key',
        body: NewApiKey,
        response: {
          201: answer('Made', { $ref: 'MadeApiKey#' }, { location: 'path of the key' }),
          default: refusal,
        },
      },
    },
    async handler(request, reply) {
      const { name, role, expires_at } = request.body as Static<typeof NewApiKey>;
      const { key, secret } = await issuer.apiKeys.create(
        { name, role, expiresAtMs: readExpiry(expires_at) },
        administratorOf(request),
      );
      return reply
        .code(201)
        .header('location', `${request.server.prefix}/api-keys/${name}`)
        .send({ ...view(key), api_key: secret });
    },
  };
}

function listKeys(issuer: Issuer): MethodRoute {
  return {
    openTo: ['auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listApiKeys',
        summary: 'List API keys, ordered by name',
        response: {
          200: answer('All', Type.Object({ api_keys: Type.Array(Type.Unsafe({ $ref: 'ApiKey#' })) })),
          default: refusal,
        },
      },
    },
    handler: async () => ({ api_keys: (await issuer.apiKeys.list()).map(view) }),
  };
}

function showKey(issuer: Issuer): MethodRoute {
  return {
    openTo: ['auditor'],
    options: {
      schema: {
        tags,
        operationId: 'getApiKey',
        summary: 'Show an API key',
        params,
        response: { 200: answer('The key', { $ref: 'ApiKey#' }), default: refusal },
      },
    },
    async handler(request) {
      const key = await issuer.apiKeys.find(nameOf(request));
      if (key === undefined) throw new FleetgateError('api_key_unknown', 'there is no such API key');
      return view(key);
    },
  };
}

function rotateKey(issuer: Issuer): MethodRoute {
  return {
    openTo: [],
    options: {
      // A rotation needs to say nothing.
      preValidation: async (request) => {
        request.body ??= {};
      },
      schema: {
        tags,
        operationId: 'rotateApiKey',
        summary: 'Replace an API key by a new one of the same name and role',
        params,
        body: Rotation,
        response: { 200: answer('The new key', { $ref: 'MadeApiKey#' }), default: refusal },
      },
    },
    async handler(request) {
      const { expires_at, overlap_seconds } = request.body as Static<typeof Rotation>;
      const { key, secret } = await issuer.apiKeys.rotate(
        nameOf(request),
        { expiresAtMs: readExpiry(expires_at), overlapSeconds: overlap_seconds },
        administratorOf(request),
      );
      return { ...view(key), api_key: secret };
    },
  };
}

function deleteKey(issuer: Issuer): MethodRoute {
  return {
    openTo: [],
    options: {
      schema: {
        tags,
        operationId: 'deleteApiKey',
        summary: 'Delete an API key, which is refused at once',
        params,
        response: { 204: { type: 'null', description: 'Deleted' }, default: refusal },
      },
    },
    async handler(request, reply) {
      await issuer.apiKeys.delete(nameOf(request), administratorOf(request));
      return reply.code(204).send();
    },
  };
}

function view(key: ApiKeyRecord): Static<typeof ApiKey> {
  const time = (ms: number) => new Date(ms).toISOString();
  return {
    name: key.name,
    role: key.role,
    created_at: time(key.createdAtMs),
    rotated_at: time(key.rotatedAtMs),
    ...(key.expiresAtMs === undefined ? {} : { expires_at: time(key.expiresAtMs) }),
    ...(key.previous === undefined ? {} : { previous_until: time(key.previous.untilMs) }),
    ...(key.lastUsedAtMs === undefined ? {} : { last_used_at: time(key.lastUsedAtMs) }),
  };
}

const readExpiry = (at: number | string | undefined) =>
  at === undefined ? undefined : readMoment('expires_at', at) * 1000;

const nameOf = ({ params }: FastifyRequest) => (params as { name: string }).name;
