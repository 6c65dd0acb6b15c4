import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import type { Issuer } from '../open-issuer.ts';
import { administratorOf } from './admin-access.ts';
import { DeviceRequest, requestView } from './enrollment-wire.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

const tags = ['enrollment'];
const params = Type.Object({ request_id: Type.String() });
const idOf = ({ params }: FastifyRequest) => (params as { request_id: string }).request_id;

const Reason = Type.Object(
  { reason: Type.String({ description: 'why; the device is told' }) },
  { additionalProperties: false },
);

const RequestPage = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE })),
    cursor: Type.Optional(Type.String({ description: '`next_cursor` of the page before' })),
    state: Type.Optional(Type.Enum(['pending', 'approved', 'rejected', 'enrolled'])),
    enrollment: Type.Optional(Type.String({ description: 'only those that came to it' })),
  },
  { additionalProperties: false },
);
/** `/v1/enrollment-requests`. */
export function enrollmentRequestRoutes(app: FastifyInstance, issuer: Issuer): void {
  app.addSchema(DeviceRequest);
  addRoute(app, '/enrollment-requests', { GET: listRequests(issuer) });
  addRoute(app, '/enrollment-requests/:request_id/approve', { POST: approveRequest(issuer) });
  addRoute(app, '/enrollment-requests/:request_id/reject', { POST: rejectRequest(issuer) });
}

function listRequests({ enrollments }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listEnrollmentRequests',
        summary: 'List devices that came to enrollments, from old to new',
        querystring: RequestPage,
        response: {
          200: answer(
            'A page',
            Type.Object({
              requests: Type.Array(Type.Unsafe({ $ref: 'EnrollmentRequest#' })),
              next_cursor: Type.Optional(Type.String({ description: 'there when more follow' })),
            }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { limit = DEFAULT_PAGE, cursor, state, enrollment } = request.query as Static<typeof RequestPage>;
      const found = await enrollments.requests({
        state,
        enrollmentId: enrollment,
        after: cursor,
        limit: limit + 1,
      });
      const shown = found.slice(0, limit);
      return {
        requests: shown.map(requestView),
        ...(found.length > limit && { next_cursor: shown.at(-1)?.id }),
      };
    },
  };
}

function approveRequest({ enrollments }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'approveEnrollment',
        summary: 'Let a device in that waits',
        description: 'It gets its credentials when it asks next.',
        params,
        response: { 200: answer('The request', { $ref: 'EnrollmentRequest#' }), default: refusal },
      },
    },
    handler: async (request) =>
      requestView(await enrollments.approve(idOf(request), administratorOf(request))),
  };
}

function rejectRequest({ enrollments }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'rejectEnrollment',
        summary: 'Refuse a device that waits',
        params,
        body: Reason,
        response: { 200: answer('The request', { $ref: 'EnrollmentRequest#' }), default: refusal },
      },
    },
    async handler(request) {
      const { reason } = request.body as Static<typeof Reason>;
      return requestView(await enrollments.reject(idOf(request), reason, administratorOf(request)));
    },
  };
}
