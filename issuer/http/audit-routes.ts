import { OAuthError } from '@fleetgate/shared';
import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { MAX_PAGE_EVENTS } from '../audit-trail.ts';
import { toAuditView } from '../audit-wire.ts';
import type { Issuer } from '../open-issuer.ts';
import { parseMoment } from './moment.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';

/** Events on a page when no limit is given. */
const DEFAULT_PAGE_EVENTS = 100;

const Query = Type.Object(
  {
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_PAGE_EVENTS,
        description: `events on the page. Default: ${DEFAULT_PAGE_EVENTS}`,
      }),
    ),
    cursor: Type.Optional(
      Type.Integer({ description: '`next_cursor` of the page before: the sequence number it ended with' }),
    ),
    order: Type.Optional(
      Type.Enum(['oldest', 'newest'], { description: 'which come first. Default: oldest' }),
    ),
    actor: Type.Optional(
      Type.String({ description: 'who acted: `admin:NAME`, `client:ID`, `anonymous` or `issuer`' }),
    ),
    action: Type.Optional(Type.String({ description: 'what was done' })),
    target: Type.Optional(Type.String({ description: 'what it was done to' })),
    result: Type.Optional(Type.String({ description: '`ok`, or the code of a refusal' })),
    since: Type.Optional(
      Type.String({ description: 'at this moment or later: seconds since 1970, or RFC 3339' }),
    ),
    until: Type.Optional(Type.String({ description: 'before this moment' })),
  },
  { additionalProperties: false },
);

const Event = Type.Object(
  {
    sequence: Type.Integer({ description: 'its place, without gaps' }),
    at: Type.String({ format: 'date-time' }),
    actor: Type.String(),
    address: Type.Optional(Type.String({ description: 'of the peer' })),
    action: Type.String(),
    target: Type.Optional(Type.String()),
    result: Type.String(),
    request_id: Type.Optional(Type.String({ description: 'as in the log' })),
    token_id: Type.Optional(Type.String({ description: '`jti`' })),
    // In the order in which they are hashed.
    changes: Type.Optional(
      Type.Array(
        Type.Object({
          field: Type.String({ description: 'as the client has it; one label is `labels.NAME`' }),
          before: Type.Optional(Type.String({ description: 'left out where it was unset' })),
          after: Type.Optional(Type.String({ description: 'left out where it is unset' })),
          withheld: Type.Optional(Type.Boolean({ description: 'the values are not kept' })),
        }),
        { description: 'what a `client.update` changed' },
      ),
    ),
    previous_hash: Type.String({ description: 'hash of the event before' }),
    hash: Type.String({ description: 'SHA-256 over `previous_hash` and the event' }),
  },
  { $id: 'AuditEvent' },
);

/** `/v1/audit`. */
export function auditRoutes(app: FastifyInstance, issuer: Pick<Issuer, 'searchAudit'>): void {
  app.addSchema(Event);
  addRoute(app, '/audit', { GET: listEvents(issuer) });
}

function listEvents(issuer: Pick<Issuer, 'searchAudit'>): MethodRoute {
  return {
    openTo: ['auditor'],
    options: {
      schema: {
        tags: ['audit'],
        operationId: 'listAuditEvents',
        summary: 'Search the audit trail',
        description:
          'A page may hold fewer events than asked for, or none, and have a `next_cursor`: one request looks at 20,000.',
        querystring: Query,
        response: {
          200: answer(
            'A page',
            Type.Object({
              events: Type.Array(Type.Unsafe({ $ref: 'AuditEvent#' })),
              next_cursor: Type.Optional(Type.String()),
            }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const {
        limit = DEFAULT_PAGE_EVENTS,
        cursor,
        since,
        until,
        ...asked
      } = request.query as Static<typeof Query>;
      const { events, nextAfter } = await issuer.searchAudit({
        ...asked,
        limit,
        after: cursor,
        fromMs: since === undefined ? undefined : readMoment('since', since),
        untilMs: until === undefined ? undefined : readMoment('until', until),
      });
      return {
        events: events.map(toAuditView),
        ...(nextAfter === undefined ? {} : { next_cursor: String(nextAfter) }),
      };
    },
  };
}

/** Milliseconds since 1970. */
function readMoment(field: string, text: string): number {
  const ms = /^\d{1,11}$/.test(text) ? Number(text) * 1000 : parseMoment(text);
  if (ms !== undefined) return ms;
  throw new OAuthError(
    'invalid_request',
    `${field} must be seconds since 1970 or a time such as 2026-01-31T12:00:00Z`,
  );
}
