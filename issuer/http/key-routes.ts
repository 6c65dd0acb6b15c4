import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import type { KeyView } from '../keys/key-administration.ts';
import type { Issuer } from '../open-issuer.ts';
import { administratorOf } from './admin-access.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';

const closed = { additionalProperties: false };
const Rotation = Type.Object(
  { now: Type.Optional(Type.Boolean({ description: 'without waiting until verifiers have the next key' })) },
  closed,
);
const Retirement = Type.Object(
  {
    compromised: Type.Optional(
      Type.Boolean({ description: 'remove it at once, revoke all it has signed, and sign with a new one' }),
    ),
  },
  closed,
);

const date = (description: string) => Type.Optional(Type.String({ format: 'date-time', description }));
const SigningKey = Type.Object(
  {
    kid: Type.String(),
    algorithm: Type.Enum(['ES256', 'EdDSA', 'RS256']),
    state: Type.Enum(['next', 'active', 'retired']),
    created_at: Type.String({ format: 'date-time' }),
    activates_at: date('of the next key: when it is going to sign'),
    activated_at: date('since when it signs, or has signed'),
    retired_at: date('since when it signs no more'),
    published_until: date('when the last token it has signed is accepted nowhere'),
  },
  { $id: 'SigningKey' },
);
const keysOf = Type.Array(Type.Unsafe({ $ref: 'SigningKey#' }));
const Keys = Type.Object({ keys: keysOf });

/** A body says only what is not the default. */
const mayHaveBody = {
  preValidation: async (request: FastifyRequest) => {
    request.body ??= {};
  },
};

const tags = ['keys'];

/** `/v1/keys`. */
export function keyRoutes(app: FastifyInstance, issuer: Issuer): void {
  app.addSchema(SigningKey);
  addRoute(app, '/keys', { GET: listKeys(issuer) });
  addRoute(app, '/keys/rotate', { POST: rotate(issuer) });
  addRoute(app, '/keys/:kid/retire', { POST: retire(issuer) });
}

function listKeys({ signingKeys }: Issuer): MethodRoute {
  return {
    openTo: ['auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listKeys',
        summary: 'List the published signing keys',
        description: 'The active key first, then the next one, then the retired from new to old.',
        response: { 200: answer('The keys', Keys), default: refusal },
      },
    },
    handler: async () => ({ keys: (await signingKeys.list()).map(view) }),
  };
}

function rotate({ signingKeys }: Issuer): MethodRoute {
  return {
    openTo: [],
    options: {
      schema: {
        tags,
        operationId: 'rotateKeys',
        summary: 'Sign with the next key',
        body: Rotation,
        response: {
          200: answer('Another key signs now', Keys),
          202: answer('Another key signs as soon as verifiers have it, see `activates_at`', Keys),
          default: refusal,
        },
      },
      ...mayHaveBody,
    },
    async handler(request, reply) {
      const { now: isImmediate = false } = request.body as Static<typeof Rotation>;
      const { keys, isDone } = await signingKeys.rotate({ isImmediate }, administratorOf(request));
      return reply.code(isDone ? 200 : 202).send({ keys: keys.map(view) });
    },
  };
}

function retire({ signingKeys }: Issuer): MethodRoute {
  return {
    openTo: [],
    options: {
      schema: {
        tags,
        operationId: 'retireKey',
        summary: 'Let a key sign no more',
        description: 'What it has signed stays good, unless it is compromised.',
        body: Retirement,
        response: {
          200: answer(
            'The keys afterwards',
            Type.Object({
              keys: keysOf,
              repeated: Type.Boolean({ description: 'whether it was so before' }),
            }),
          ),
          default: refusal,
        },
      },
      ...mayHaveBody,
    },
    async handler(request) {
      const { compromised = false } = request.body as Static<typeof Retirement>;
      const kid = kidOf(request);
      const by = administratorOf(request);
      const { isRepeated } = compromised
        ? await signingKeys.revoke(kid, by)
        : await signingKeys.retire(kid, by);
      return { keys: (await signingKeys.list()).map(view), repeated: isRepeated };
    },
  };
}

/** A key as the API shows it. */
function view(key: KeyView) {
  return {
    kid: key.kid,
    algorithm: key.algorithm,
    state: key.state,
    created_at: time(key.createdAtMs),
    ...optional('activates_at', key.activatesAtMs),
    ...optional('activated_at', key.activatedAtMs),
    ...optional('retired_at', key.retiredAtMs),
    ...optional('published_until', key.publishedUntilMs),
  };
}

const optional = (name: string, ms: number | undefined) => (ms === undefined ? {} : { [name]: time(ms) });
const time = (ms: number) => new Date(ms).toISOString();

const kidOf = ({ params }: FastifyRequest) => (params as { kid: string }).kid;
