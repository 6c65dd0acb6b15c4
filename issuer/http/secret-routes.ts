import { OAuthError } from '@fleetgate/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import {
  DEFAULT_EXPIRING_SECONDS,
  DEFAULT_OVERLAP_SECONDS,
  MAX_OVERLAP_SECONDS,
  MAX_PAGE_SECRETS,
} from '../client-secrets.ts';
import type { Issuer } from '../open-issuer.ts';
import type { SecretPosition } from '../registry/secret-registry.ts';
import { administratorOf } from './admin-access.ts';
import { Credential, credentialView } from './credential-wire.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';
import { readSecretEnd, Secret, secretEnd, secretView, time } from './secret-wire.ts';

/** Secrets on a page when no limit is given. */
const DEFAULT_PAGE_SECRETS = 100;

/** The body of `POST /v1/clients/{client_id}/secrets`, which needs none. */
const Rotation = Type.Object(
  {
    overlap_seconds: Type.Optional(
      Type.Integer({
        description: `for how long the old secret goes on, 0 to ${MAX_OVERLAP_SECONDS}; 0 ends all others at once. Default: ${DEFAULT_OVERLAP_SECONDS}, with until_new_is_used no limit`,
      }),
    ),
    until_new_is_used: Type.Optional(
      Type.Boolean({
        description: 'end the old secret a minute after the first use of the new one. Default: false',
      }),
    ),
    expires_at: Type.Optional(secretEnd),
    revoke_tokens: Type.Optional(
      Type.Boolean({
        description: 'also revoke the tokens of the client; needs overlap_seconds 0. Default: false',
      }),
    ),
  },
  { additionalProperties: false },
);
type Rotation = Static<typeof Rotation>;

const RotatedSecret = Type.Object({
  client_id: Type.String(),
  ...Secret.properties,
  ...Credential.properties,
  old_secret_id: Type.Optional(Type.String({ description: 'the one that goes on beside it' })),
  old_secret_expires_at: Type.Optional(
    Type.Union([Type.String({ format: 'date-time' }), Type.Null()], {
      description: 'when that ends; null when no end is set',
    }),
  ),
  old_secret_until_new_is_used: Type.Optional(Type.Boolean()),
});

const SecretList = Type.Object(
  {
    state: Type.Enum(['never_used', 'expiring'], {
      description: 'never used, from old to new; or those that end soon, the next to end first',
    }),
    within_seconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_OVERLAP_SECONDS,
        description: `how soon; of expiring only. Default: ${DEFAULT_EXPIRING_SECONDS}`,
      }),
    ),
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_PAGE_SECRETS,
        description: `secrets on the page. Default: ${DEFAULT_PAGE_SECRETS}`,
      }),
    ),
    cursor: Type.Optional(Type.String({ description: '`next_cursor` of the page before' })),
  },
  { additionalProperties: false },
);

const params = Type.Object({ client_id: Type.String() });
const tags = ['secrets'];

/** `/v1/clients/{client_id}/secrets` and `/v1/secrets`. */
export function secretRoutes(app: FastifyInstance, issuer: Issuer): void {
  app.addSchema(Secret);
  addRoute(app, '/clients/:client_id/secrets', { POST: rotate(issuer), GET: showSecrets(issuer) });
  addRoute(app, '/clients/:client_id/secrets/:secret_id', { DELETE: endSecret(issuer) });
  addRoute(app, '/secrets', { GET: listSecrets(issuer) });
}

function rotate(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'rotateSecret',
        summary: 'Give a client a new secret',
        description:
          'The old one goes on for the overlap. A third live secret is refused with `secret_limit_reached`: the one that waits to be used may be on its way to the machine.',
        params,
        body: Rotation,
        response: { 201: answer('Made', RotatedSecret), default: refusal },
      },
      preValidation: async (request) => {
        request.body ??= {};
      },
    },
    async handler(request, reply) {
      const body = request.body as Rotation;
      const { clientId } = idsOf(request);
      const { secret, shown, old } = await issuer.secrets.rotate(
        clientId,
        {
          overlapSeconds: body.overlap_seconds,
          untilNewIsUsed: body.until_new_is_used,
          expiresAtMs: readSecretEnd('expires_at', body.expires_at),
          revokeTokens: body.revoke_tokens,
        },
        administratorOf(request),
      );
      return reply.code(201).send({
        client_id: clientId,
        ...secretView(secret),
        ...credentialView(shown),
        ...(old !== undefined && {
          old_secret_id: old.secretId,
          old_secret_expires_at: time(old.expiresAtMs) ?? null,
          old_secret_until_new_is_used: old.endsOnSuccession,
        }),
      });
    },
  };
}

function showSecrets(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listClientSecrets',
        summary: 'Show the secrets of a client, from old to new, also one that has ended',
        params,
        response: {
          200: answer('Its secrets', Type.Object({ secrets: Type.Array(Type.Unsafe({ $ref: 'Secret#' })) })),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const secrets = await issuer.secrets.of(idsOf(request).clientId);
      return { secrets: secrets.map((secret) => secretView(secret, secret.isLive)) };
    },
  };
}

function endSecret(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'endSecret',
        summary: 'End a secret now',
        description: 'Tokens that were issued for it live on. One that has ended is left as it is.',
        params: Type.Object({ ...params.properties, secret_id: Type.String() }),
        response: { 204: { type: 'null', description: 'Ended' }, default: refusal },
      },
    },
    async handler(request, reply) {
      const { clientId, secretId } = idsOf(request);
      await issuer.secrets.end(clientId, secretId, administratorOf(request));
      return reply.code(204).send();
    },
  };
}

function listSecrets(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listSecrets',
        summary: 'List live secrets of all clients that were never used, or that end soon',
        querystring: SecretList,
        response: {
          200: answer(
            'A page',
            Type.Object({
              secrets: Type.Array(Type.Object({ client_id: Type.String(), ...Secret.properties })),
              next_cursor: Type.Optional(Type.String({ description: 'there when more follow' })),
            }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const {
        state,
        within_seconds: withinSeconds,
        limit = DEFAULT_PAGE_SECRETS,
        cursor,
      } = request.query as Static<typeof SecretList>;
      const after = cursor === undefined ? undefined : readCursor(state, cursor);
      const { secrets, nextAfter } = await issuer.secrets.list({ state, withinSeconds, limit, after });
      return {
        secrets: secrets.map((secret) => ({ client_id: secret.clientId, ...secretView(secret) })),
        ...(nextAfter === undefined ? {} : { next_cursor: writeCursor(state, nextAfter) }),
      };
    },
  };
}

function writeCursor(state: string, { atMs, registration, slot }: SecretPosition): string {
  return Buffer.from(`${state}.${atMs}.${registration}.${slot}`).toString('base64url');
}

function readCursor(state: string, cursor: string): SecretPosition {
  const text = Buffer.from(cursor, 'base64url').toString('latin1');
  const [, of, atMs, registration, slot] = /^([a-z_]+)\.(\d{1,15})\.(\d{1,15})\.([01])$/.exec(text) ?? [];
  if (of !== state) throw new OAuthError('invalid_request', 'cursor is not one of this list');
  return { atMs: Number(atMs), registration: Number(registration), slot: Number(slot) };
}

function idsOf({ params }: FastifyRequest): { clientId: string; secretId: string } {
  const { client_id, secret_id = '' } = params as { client_id: string; secret_id?: string };
  return { clientId: client_id, secretId: secret_id };
}
