import { isIdentifier, OAuthError } from '@fleetgate/shared';
import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import type { Administrator } from '../clients.ts';
import { MAX_SELECTED, type SelectionStep, type StepDone } from '../fleet/selected-clients.ts';
import type { Issuer } from '../open-issuer.ts';
import { administratorOf } from './admin-access.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';

const tags = ['fleet'];

export const selector = Type.String({
  description:
    'which clients, as `group=plant-7,hw!=rev-a`: conditions `name=value`, `name!=value`, `name in (a,b)`, `name notin (a,b)`, `name`, `!name`. A name is `client_id` (also `client_id=press-*`), `group`, `state`, `auth_method`, `template`, `job`, `enrollment`, or a label. Of times: `expires<7d` (a secret ends within that), `expired` (all have ended), `last_seen>30d`, `last_seen<7d`, `!last_seen` (of tokens, to the day)',
});
const cursor = Type.Optional(Type.String({ description: '`next_cursor` of the answer before' }));
const nextCursor = Type.Optional(Type.String({ description: 'there while more may follow' }));

const Step = Type.Object(
  {
    selector,
    cursor,
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_SELECTED,
        description: `clients that this request acts on. Default: ${MAX_SELECTED}`,
      }),
    ),
  },
  { additionalProperties: false },
);
const ReasonedStep = Type.Object(
  { ...Step.properties, reason: Type.String({ description: 'why, for people' }) },
  { additionalProperties: false },
);
const CountQuery = Type.Object({ selector, cursor }, { additionalProperties: false });

const stepDone = answer(
  'What was done',
  Type.Object({
    changed: Type.Integer(),
    unchanged: Type.Integer({ description: 'such as were so already, or are gone' }),
    next_cursor: nextCursor,
  }),
);

/** `/v1/fleet`: acts on the clients of a selector, a part with each request. */
export function selectionRoutes(app: FastifyInstance, { selectedClients: acts }: Issuer): void {
  addRoute(app, '/fleet/count', { GET: count(acts) });
  addRoute(app, '/fleet/quarantine', {
    POST: {
      openTo: ['provisioner'],
      options: {
        schema: {
          tags,
          operationId: 'quarantineClients',
          summary: 'Put the clients of a selector into quarantine',
          description: 'Their tokens are revoked, and they are issued none until they are released.',
          body: ReasonedStep,
          response: { 200: stepDone, default: refusal },
        },
      },
      async handler(request) {
        const body = request.body as Static<typeof ReasonedStep>;
        return stepView(await acts.quarantine(stepOf(body), body.reason, administratorOf(request)));
      },
    },
  });
  addRoute(app, '/fleet/release', {
    POST: step('releaseClients', 'Release the clients of a selector', (one, by) => acts.release(one, by)),
  });
  addRoute(app, '/fleet/revoke', {
    POST: step('revokeClients', 'Revoke the tokens that the clients of a selector have', (one, by) =>
      acts.revoke(one, by),
    ),
  });
  addRoute(app, '/fleet/delete', {
    POST: step('deleteClients', 'Delete the clients of a selector and revoke their tokens', (one, by) =>
      acts.delete(one, by),
    ),
  });
}

function step(
  operationId: string,
  summary: string,
  act: (step: SelectionStep, by: Administrator) => Promise<StepDone>,
): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: { tags, operationId, summary, body: Step, response: { 200: stepDone, default: refusal } },
    },
    async handler(request) {
      return stepView(await act(stepOf(request.body as Static<typeof Step>), administratorOf(request)));
    },
  };
}

function count(acts: Issuer['selectedClients']): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'countClients',
        summary: 'Count the clients of a selector',
        querystring: CountQuery,
        response: {
          200: answer(
            'How many, as far as one request goes',
            Type.Object({ count: Type.Integer(), next_cursor: nextCursor }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { selector, cursor } = request.query as Static<typeof CountQuery>;
      const found = await acts.count({ selector, after: readClientCursor(cursor) });
      return { count: found.count, ...nextOf(found.nextAfter) };
    },
  };
}

const stepOf = ({ selector, cursor, limit = MAX_SELECTED }: Static<typeof Step>): SelectionStep => ({
  selector,
  after: readClientCursor(cursor),
  limit,
});

const stepView = ({ changed, unchanged, nextAfter }: StepDone) => ({
  changed,
  unchanged,
  ...nextOf(nextAfter),
});

/** `next_cursor` of a list that goes on behind a client. */
export const nextOf = (after: string | undefined) =>
  after === undefined ? {} : { next_cursor: Buffer.from(after).toString('base64url') };

/** The client that a cursor names. @throws OAuthError `invalid_request` */
export function readClientCursor(cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined;
  const after = Buffer.from(cursor, 'base64url').toString('utf8');
  if (isIdentifier(after)) return after;
  throw new OAuthError('invalid_request', 'cursor is not one of this list');
}
