import { isCursor, OAuthError } from '@fleetgate/shared';
import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import type { Issuer } from '../open-issuer.ts';
import type { RecordedRevocation } from '../revocation.ts';
import { MAX_PAGE_REVOCATIONS, type RevocationRequest } from '../revocations.ts';
import { administratorOf, needRole } from './admin-access.ts';
import { readMoment } from './moment.ts';
import { answer, refusal } from './openapi.ts';
import { toWire } from './revocation-wire.ts';
import { addRoute, type MethodRoute } from './routes.ts';

/** Revocations on a page when no limit is given. */
const DEFAULT_PAGE_REVOCATIONS = 100;

/** The body of `POST /v1/revocations`. Which fields belong to which kind is said below. */
const NewRevocation = Type.Object(
  {
    kind: Type.String({ description: '`token`, `client`, `issued_before` or `key`' }),
    jti: Type.Optional(Type.String({ description: 'of `token`' })),
    client_id: Type.Optional(
      Type.String({ description: 'of `client`, and of `issued_before` for one client only' }),
    ),
    at: Type.Optional(
      Type.Union([Type.Integer(), Type.String()], {
        description:
          'of `issued_before`: `now`, seconds since 1970, or RFC 3339; one that is not past means all issued so far',
      }),
    ),
    kid: Type.Optional(Type.String({ description: 'of `key`' })),
  },
  { additionalProperties: false },
);
type NewRevocation = Static<typeof NewRevocation>;

const Revocation = Type.Object(
  {
    cursor: Type.String({ description: 'its place in the feed' }),
    kind: Type.String(),
    jti: Type.Optional(Type.String()),
    client_id: Type.Optional(Type.String()),
    at: Type.Optional(Type.Integer({ description: 'seconds since 1970' })),
    quarantined: Type.Optional(
      Type.Literal(true, { description: 'of `client`: it was put into quarantine; absent otherwise' }),
    ),
    kid: Type.Optional(Type.String()),
    expires_at: Type.Integer({ description: 'seconds since 1970; no token it could hit is alive then' }),
    created_at: Type.String({ format: 'date-time' }),
  },
  { $id: 'Revocation' },
);

const Page = Type.Object(
  {
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_PAGE_REVOCATIONS,
        description: `revocations on the page. Default: ${DEFAULT_PAGE_REVOCATIONS}`,
      }),
    ),
    cursor: Type.Optional(Type.String({ description: '`next_cursor` of the page before' })),
  },
  { additionalProperties: false },
);

const tags = ['revocations'];

/** `/v1/revocations`. */
export function revocationRoutes(app: FastifyInstance, issuer: Issuer): void {
  app.addSchema(Revocation);
  addRoute(app, '/revocations', { POST: revoke(issuer), GET: listRevocations(issuer) });
}

function revoke(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'revoke',
        summary: 'Revoke a token, those of a client, those of before a moment, or those of a key',
        description:
          'A provisioner may revoke what is of one client: `issued_before` without `client_id`, and `key`, need role admin.',
        body: NewRevocation,
        response: {
          201: answer('Revoked', { $ref: 'Revocation#' }),
          200: answer('One that takes back as much was there already', { $ref: 'Revocation#' }),
          default: refusal,
        },
      },
    },
    async handler(request, reply) {
      const asked = readRequest(request.body as NewRevocation);
      if (isOfAll(asked)) await needRole(issuer, request, ['admin']);
      const { revocation, isRepeated } = await issuer.revocations.revoke(asked, administratorOf(request));
      return reply.code(isRepeated ? 200 : 201).send(view(revocation));
    },
  };
}

function listRevocations(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listRevocations',
        summary: 'List revocations that have not expired, in the order they were made',
        querystring: Page,
        response: {
          200: answer(
            'A page',
            Type.Object({
              revocations: Type.Array(Type.Unsafe({ $ref: 'Revocation#' })),
              next_cursor: Type.Optional(Type.String({ description: 'there when more follow' })),
            }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { limit = DEFAULT_PAGE_REVOCATIONS, cursor } = request.query as Static<typeof Page>;
      if (cursor !== undefined && !isCursor(cursor)) invalid('cursor is not one of this list');
      const { revocations, nextAfter } = await issuer.revocations.list({ limit, after: cursor });
      return {
        revocations: revocations.map(view),
        ...(nextAfter === undefined ? {} : { next_cursor: nextAfter }),
      };
    },
  };
}

/** Whether it takes back tokens of more than one client. */
function isOfAll(asked: RevocationRequest): boolean {
  return asked.kind === 'key' || (asked.kind === 'issued_before' && asked.clientId === undefined);
}

function view(revocation: RecordedRevocation) {
  return { ...toWire(revocation), created_at: new Date(revocation.createdAtMs).toISOString() };
}

type Field = Exclude<keyof NewRevocation, 'kind'>;

/** Each kind with the fields it needs, those it may have, and what they make. */
const kinds: ReadonlyMap<string, KindOfBody> = new Map<string, KindOfBody>([
  ['token', { needs: ['jti'], may: [], read: ({ jti = '' }) => ({ kind: 'token', tokenId: jti }) }],
  [
    'client',
    {
      needs: ['client_id'],
      may: [],
      read: ({ client_id = '' }) => ({ kind: 'client', clientId: client_id }),
    },
  ],
  [
    'issued_before',
    {
      needs: ['at'],
      may: ['client_id'],
      read: ({ at = '', client_id }) => ({
        kind: 'issued_before',
        ...(client_id === undefined ? {} : { clientId: client_id }),
        ...(at === 'now' ? {} : { atSeconds: readMoment('at', at) }),
      }),
    },
  ],
  ['key', { needs: ['kid'], may: [], read: ({ kid = '' }) => ({ kind: 'key', keyId: kid }) }],
]);

interface KindOfBody {
  readonly needs: readonly Field[];
  readonly may: readonly Field[];
  readonly read: (body: NewRevocation) => RevocationRequest;
}

function readRequest(body: NewRevocation): RevocationRequest {
  const { kind: name, ...fields } = body;
  const kind = kinds.get(name) ?? invalid(`kind must be one of ${Array.from(kinds.keys()).join(', ')}`);
  for (const field of kind.needs) {
    if (fields[field] === undefined) invalid(`${field} is missing; a revocation of this kind needs it`);
  }
  for (const field of Object.keys(fields) as Field[]) {
    // Whoever gives it thinks that it narrows what is revoked, or widens it.
    if (!kind.needs.includes(field) && !kind.may.includes(field)) invalid(`${field} is of another kind`);
  }
  return kind.read(body);
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
