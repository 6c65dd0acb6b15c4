import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { MAX_ALLOWED_AT_ONCE } from '../fleet/enrollments.ts';
import type { Issuer } from '../open-issuer.ts';
import { administratorOf } from './admin-access.ts';
import { credentialFields, Enrollment, enrollmentView, NewEnrollment, shownOnce } from './enrollment-wire.ts';
import { readMoment } from './moment.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

const tags = ['enrollment'];
const params = Type.Object({ enrollment_id: Type.String() });
const idOf = ({ params }: FastifyRequest) => (params as { enrollment_id: string }).enrollment_id;

const Roll = Type.Object(
  { key: Type.Enum(['primary', 'secondary'], { description: 'which is replaced' }) },
  { additionalProperties: false },
);
const Allow = Type.Object(
  { client_ids: Type.Array(Type.String(), { maxItems: MAX_ALLOWED_AT_ONCE }) },
  { additionalProperties: false },
);
const page = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE })),
  cursor: Type.Optional(Type.String({ description: '`next_cursor` of the page before' })),
};
const Page = Type.Object(page, { additionalProperties: false });
const nextCursor = Type.Optional(Type.String({ description: 'there when more follow' }));

/** `/v1/enrollments`. */
export function enrollmentRoutes(app: FastifyInstance, issuer: Issuer): void {
  app.addSchema(Enrollment);
  addRoute(app, '/enrollments', { POST: createEnrollment(issuer), GET: listEnrollments(issuer) });
  addRoute(app, '/enrollments/:enrollment_id', { GET: showEnrollment(issuer) });
  addRoute(app, '/enrollments/:enrollment_id/revoke', { POST: revokeEnrollment(issuer) });
  addRoute(app, '/enrollments/:enrollment_id/keys', { POST: rollKey(issuer) });
  addRoute(app, '/enrollments/:enrollment_id/allow', { POST: allowClients(issuer) });
}

function createEnrollment({ enrollments }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'createEnrollment',
        summary: 'Let devices get their identity by themselves',
        description:
          'By a claim code, which is typed or printed, or by a group key, from which each device is given a key of its own: base64(HMAC-SHA256(group key, registration id)).',
        body: NewEnrollment,
        response: {
          201: answer('Made', Type.Object({ ...Enrollment.properties, ...shownOnce }), {
            location: 'path of the enrollment',
          }),
          default: refusal,
        },
      },
    },
    async handler(request, reply) {
      const asked = request.body as Static<typeof NewEnrollment>;
      const { enrollment, credential } = await enrollments.create(
        {
          kind: asked.kind ?? 'claim_code',
          template: asked.template,
          row: asked.device,
          maxUses: asked.max_uses,
          expiresAtMs:
            asked.expires_at === undefined ? undefined : readMoment('expires_at', asked.expires_at) * 1000,
          needsApproval: asked.approval,
          replaces: asked.replace,
        },
        administratorOf(request),
      );
      return reply
        .code(201)
        .headers({
          location: `${request.server.prefix}/enrollments/${enrollment.id}`,
        })
        .send({ ...enrollmentView(enrollment), ...credentialFields(credential) });
    },
  };
}

function listEnrollments({ enrollments }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listEnrollments',
        summary: 'List enrollments, from new to old',
        querystring: Page,
        response: {
          200: answer(
            'A page',
            Type.Object({
              enrollments: Type.Array(Type.Unsafe({ $ref: 'Enrollment#' })),
              next_cursor: nextCursor,
            }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { limit = DEFAULT_PAGE, cursor } = request.query as Static<typeof Page>;
      const found = await enrollments.list({ before: cursor, limit: limit + 1 });
      const shown = found.slice(0, limit);
      return {
        enrollments: shown.map((one) => enrollmentView(one)),
        ...(found.length > limit && { next_cursor: shown.at(-1)?.id }),
      };
    },
  };
}

function showEnrollment({ enrollments }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'getEnrollment',
        summary: 'Show an enrollment',
        params,
        response: { 200: answer('The enrollment', { $ref: 'Enrollment#' }), default: refusal },
      },
    },
    handler: async (request) => enrollmentView(await enrollments.find(idOf(request))),
  };
}

function revokeEnrollment({ enrollments }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'revokeEnrollment',
        summary: 'Let nobody in by an enrollment any more',
        description: 'Devices that are in stay, and those that wait are refused.',
        params,
        response: { 200: answer('The enrollment', { $ref: 'Enrollment#' }), default: refusal },
      },
    },
    handler: async (request) =>
      enrollmentView(await enrollments.revoke(idOf(request), administratorOf(request))),
  };
}

function rollKey({ enrollments }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'rollGroupKey',
        summary: 'Replace one of the two keys of an enrollment',
        description: 'Devices with keys from the other one go on.',
        params,
        body: Roll,
        response: {
          200: answer(
            'The new key',
            Type.Object({ primary_key: shownOnce.primary_key, secondary_key: shownOnce.secondary_key }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { key: which } = request.body as Static<typeof Roll>;
      const key = await enrollments.rollKey(idOf(request), which, administratorOf(request));
      return { [`${which}_key`]: key };
    },
  };
}

function allowClients({ enrollments }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'allowClients',
        summary: 'Let devices in without approval',
        description: 'By the client ids they will have, in addition to those allowed before.',
        params,
        body: Allow,
        response: { 204: { type: 'null', description: 'Allowed' }, default: refusal },
      },
    },
    async handler(request, reply) {
      const { client_ids } = request.body as Static<typeof Allow>;
      await enrollments.allow(idOf(request), client_ids, administratorOf(request));
      return reply.code(204).send();
    },
  };
}
