import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { type EnrollmentCredential, MAX_ALLOWED_AT_ONCE } from '../fleet/enrollments.ts';
import type { Issuer } from '../open-issuer.ts';
import type { EnrollmentRecord, EnrollmentRequestRecord } from '../registry/enrollment-registry.ts';
import { administratorOf } from './admin-access.ts';
import { readMoment } from './moment.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';
import { time } from './secret-wire.ts';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

const tags = ['enrollment'];
const params = Type.Object({ enrollment_id: Type.String() });
const idOf = ({ params }: FastifyRequest) => (params as { enrollment_id: string }).enrollment_id;
const requestParams = Type.Object({ request_id: Type.String() });
const requestIdOf = ({ params }: FastifyRequest) => (params as { request_id: string }).request_id;

const NewEnrollment = Type.Object(
  {
    template: Type.String({ description: 'what its devices have in common' }),
    kind: Type.Optional(
      Type.Enum(['claim_code', 'group_key'], { description: 'what opens it. Default: claim_code' }),
    ),
    device: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description:
          'what a device cannot say otherwise, as a row of a provisioning job; `serial` binds it to one device',
      }),
    ),
    max_uses: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: 'devices that may come. Default: 1 with a claim code, no limit with a group key',
      }),
    ),
    expires_at: Type.Optional(
      Type.Union([Type.Integer(), Type.String()], {
        description: 'seconds since 1970, or RFC 3339. Default: no end',
      }),
    ),
    approval: Type.Optional(
      Type.Boolean({
        description: 'whether devices wait until they are approved or allowed. Default: false',
      }),
    ),
    replace: Type.Optional(
      Type.Boolean({
        description:
          'whether a client that the template made gets new credentials when its device comes again. Default: false',
      }),
    ),
  },
  { additionalProperties: false },
);

const Enrollment = Type.Object(
  {
    enrollment_id: Type.String(),
    kind: Type.Enum(['claim_code', 'group_key']),
    state: Type.Enum(['open', 'exhausted', 'expired', 'revoked']),
    template: Type.String(),
    device: Type.Record(Type.String(), Type.Unknown()),
    uses: Type.Integer({ description: 'devices that have come' }),
    max_uses: Type.Optional(Type.Integer()),
    expires_at: Type.Optional(Type.String({ format: 'date-time' })),
    approval: Type.Boolean(),
    replace: Type.Boolean(),
    created_by: Type.String({ description: 'name of the API key' }),
    created_at: Type.String({ format: 'date-time' }),
    revoked_at: Type.Optional(Type.String({ format: 'date-time' })),
  },
  { $id: 'Enrollment' },
);

const shownOnce = {
  claim_code: Type.Optional(Type.String({ description: 'shown this once' })),
  primary_key: Type.Optional(Type.String({ description: 'base64; shown this once' })),
  secondary_key: Type.Optional(Type.String({ description: 'base64; shown this once' })),
};

const DeviceRequest = Type.Object(
  {
    request_id: Type.String(),
    enrollment_id: Type.String(),
    state: Type.Enum(['pending', 'approved', 'rejected', 'enrolled']),
    client_id: Type.String(),
    group: Type.Optional(Type.String()),
    labels: Type.Record(Type.String(), Type.String()),
    reason: Type.Optional(Type.String({ description: 'why it was rejected' })),
    created_at: Type.String({ format: 'date-time' }),
    updated_at: Type.String({ format: 'date-time' }),
  },
  { $id: 'EnrollmentRequest' },
);

const Roll = Type.Object(
  { key: Type.Enum(['primary', 'secondary'], { description: 'which is replaced' }) },
  { additionalProperties: false },
);
const Allow = Type.Object(
  { client_ids: Type.Array(Type.String(), { maxItems: MAX_ALLOWED_AT_ONCE }) },
  { additionalProperties: false },
);
const Reason = Type.Object(
  { reason: Type.String({ description: 'why; the device is told' }) },
  { additionalProperties: false },
);

const page = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE })),
  cursor: Type.Optional(Type.String({ description: '`next_cursor` of the page before' })),
};
const Page = Type.Object(page, { additionalProperties: false });
const RequestPage = Type.Object(
  {
    ...page,
    state: Type.Optional(Type.Enum(['pending', 'approved', 'rejected', 'enrolled'])),
    enrollment: Type.Optional(Type.String({ description: 'only those that came to it' })),
  },
  { additionalProperties: false },
);
const nextCursor = Type.Optional(Type.String({ description: 'there when more follow' }));

/** `/v1/enrollments` and `/v1/enrollment-requests`. */
export function enrollmentRoutes(app: FastifyInstance, issuer: Issuer): void {
  app.addSchema(Enrollment);
  app.addSchema(DeviceRequest);
  addRoute(app, '/enrollments', { POST: createEnrollment(issuer), GET: listEnrollments(issuer) });
  addRoute(app, '/enrollments/:enrollment_id', { GET: showEnrollment(issuer) });
  addRoute(app, '/enrollments/:enrollment_id/revoke', { POST: revokeEnrollment(issuer) });
  addRoute(app, '/enrollments/:enrollment_id/keys', { POST: rollKey(issuer) });
  addRoute(app, '/enrollments/:enrollment_id/allow', { POST: allowClients(issuer) });
  addRoute(app, '/enrollment-requests', { GET: listRequests(issuer) });
  addRoute(app, '/enrollment-requests/:request_id/approve', { POST: approveRequest(issuer) });
  addRoute(app, '/enrollment-requests/:request_id/reject', { POST: rejectRequest(issuer) });
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
              next_cursor: nextCursor,
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
        params: requestParams,
        response: { 200: answer('The request', { $ref: 'EnrollmentRequest#' }), default: refusal },
      },
    },
    handler: async (request) =>
      requestView(await enrollments.approve(requestIdOf(request), administratorOf(request))),
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
        params: requestParams,
        body: Reason,
        response: { 200: answer('The request', { $ref: 'EnrollmentRequest#' }), default: refusal },
      },
    },
    async handler(request) {
      const { reason } = request.body as Static<typeof Reason>;
      return requestView(await enrollments.reject(requestIdOf(request), reason, administratorOf(request)));
    },
  };
}

function enrollmentView(one: EnrollmentRecord) {
  return {
    enrollment_id: one.id,
    kind: one.codeHash === undefined ? 'group_key' : 'claim_code',
    state: stateOf(one),
    template: one.template,
    device: one.row,
    uses: one.uses,
    ...(one.maxUses !== undefined && { max_uses: one.maxUses }),
    ...(one.expiresAtMs !== undefined && { expires_at: time(one.expiresAtMs) }),
    approval: one.needsApproval,
    replace: one.replaces,
    created_by: one.createdBy,
    created_at: time(one.createdAtMs),
    ...(one.revokedAtMs !== undefined && { revoked_at: time(one.revokedAtMs) }),
  };
}

function stateOf({ revokedAtMs, expiresAtMs, maxUses, uses }: EnrollmentRecord) {
  if (revokedAtMs !== undefined) return 'revoked';
  if (expiresAtMs !== undefined && expiresAtMs <= Date.now()) return 'expired';
  return maxUses !== undefined && uses >= maxUses ? 'exhausted' : 'open';
}

function credentialFields(credential: EnrollmentCredential) {
  return 'claimCode' in credential
    ? { claim_code: credential.claimCode }
    : { primary_key: credential.primaryKey, secondary_key: credential.secondaryKey };
}

function requestView(one: EnrollmentRequestRecord) {
  return {
    request_id: one.id,
    enrollment_id: one.enrollmentId,
    state: one.state,
    client_id: one.clientId,
    ...(one.registration.group !== undefined && { group: one.registration.group }),
    labels: one.registration.labels ?? {},
    ...(one.reason !== undefined && { reason: one.reason }),
    created_at: time(one.createdAtMs),
    updated_at: time(one.updatedAtMs),
  };
}
