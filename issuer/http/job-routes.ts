import { OAuthError } from '@fleetgate/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { readRow } from '../fleet/device-row.ts';
import type { RowResult } from '../fleet/provisioning.ts';
import type { Issuer } from '../open-issuer.ts';
import type { JobRecord } from '../registry/fleet-registry.ts';
import { administratorOf } from './admin-access.ts';
import { Credential, credentialView } from './credential-wire.ts';
import { firstRow, MAX_ROWS_BYTES, Rows, start } from './device-row.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';
import { time } from './secret-wire.ts';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

const tags = ['fleet'];
const params = Type.Object({ job_id: Type.String() });
const jobIdOf = ({ params }: FastifyRequest) => (params as { job_id: string }).job_id;

const NewJob = Type.Object(
  {
    template: Type.String({ description: 'name of the template' }),
    version: Type.Optional(Type.Integer({ minimum: 1, description: 'of the template. Default: the newest' })),
    total: Type.Integer({ minimum: 1, description: 'how many rows there are' }),
    start: Type.Optional(start),
    source: Type.Optional(Type.String({ description: 'where the rows come from, for people' })),
  },
  { additionalProperties: false },
);

const Job = Type.Object(
  {
    job_id: Type.String(),
    state: Type.Enum(['running', 'done', 'cancelled']),
    template: Type.String(),
    template_version: Type.Integer(),
    source: Type.Optional(Type.String()),
    total: Type.Integer({ description: 'rows there are' }),
    start: Type.Integer({ description: '`{n}` of the first row' }),
    next_row: Type.Integer({ description: 'all rows before it are done' }),
    created: Type.Integer({ description: 'clients it made' }),
    failed: Type.Integer({ description: 'rows that made none' }),
    created_by: Type.String({ description: 'name of the API key' }),
    created_at: Type.String({ format: 'date-time' }),
    updated_at: Type.String({ format: 'date-time' }),
  },
  { $id: 'Job' },
);

const NewRows = Type.Object(
  {
    job_key: Type.String({ description: 'as the creation of the job answered it' }),
    first_row: firstRow,
    rows: Rows,
  },
  { additionalProperties: false },
);

const rowError = {
  error: Type.Optional(Type.String({ description: 'why it made no client' })),
  error_description: Type.Optional(Type.String()),
};

const RowResultView = Type.Object(
  {
    row: Type.Integer(),
    outcome: Type.Enum(['created', 'repeated', 'failed'], {
      description: 'repeated: it was done before, and is shown again',
    }),
    client_id: Type.Optional(Type.String()),
    auth_method: Type.Optional(Type.String()),
    audience: Type.Optional(Type.Array(Type.String())),
    ...Credential.properties,
    notice: Type.Optional(Type.String({ description: 'why no credential is shown' })),
    ...rowError,
  },
  { $id: 'RowResult' },
);

const page = (name: string) =>
  Type.Object(
    {
      limit: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: MAX_PAGE,
          description: `${name} on the page. Default: ${DEFAULT_PAGE}`,
        }),
      ),
      cursor: Type.Optional(Type.String({ description: '`next_cursor` of the page before' })),
    },
    { additionalProperties: false },
  );
const Page = page('entries');

const nextCursor = Type.Optional(Type.String({ description: 'there when more follow' }));

/** `/v1/provisioning-jobs`. */
export function jobRoutes(app: FastifyInstance, issuer: Issuer): void {
  app.addSchema(Job);
  app.addSchema(RowResultView);
  addRoute(app, '/provisioning-jobs', { POST: createJob(issuer), GET: listJobs(issuer) });
  addRoute(app, '/provisioning-jobs/:job_id', { GET: showJob(issuer) });
  addRoute(app, '/provisioning-jobs/:job_id/rows', { POST: runRows(issuer) });
  addRoute(app, '/provisioning-jobs/:job_id/cancel', { POST: cancelJob(issuer) });
  addRoute(app, '/provisioning-jobs/:job_id/failures', { GET: listFailures(issuer) });
}

function createJob(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'createJob',
        summary: 'Begin to register many devices by a template',
        description:
          'Send its rows next, in order. From `job_key` the secrets of the job are derived: keep it as you would keep them until the last answer has arrived, and forget it then.',
        body: NewJob,
        response: {
          201: answer(
            'Begun',
            Type.Object({ ...Job.properties, job_key: Type.String({ description: 'shown this once' }) }),
            { location: 'path of the job' },
          ),
          default: refusal,
        },
      },
    },
    async handler(request, reply) {
      const asked = request.body as Static<typeof NewJob>;
      const { job, key } = await issuer.provisioning.create(asked, administratorOf(request));
      return reply
        .code(201)
        .header('location', `${request.server.prefix}/provisioning-jobs/${job.id}`)
        .send({ ...jobView(job), job_key: key });
    },
  };
}

function runRows(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      bodyLimit: MAX_ROWS_BYTES,
      schema: {
        tags,
        operationId: 'runRows',
        summary: 'Register the devices of some rows',
        description:
          'Send the same rows again where the answer was lost: it comes again, with the same credentials. A row that fails holds up no other.',
        params,
        body: NewRows,
        response: {
          200: answer(
            'What became of each row',
            Type.Object({
              job: Type.Unsafe({ $ref: 'Job#' }),
              results: Type.Array(Type.Unsafe({ $ref: 'RowResult#' })),
            }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { job_key: key, first_row, rows } = request.body as Static<typeof NewRows>;
      const { job, results } = await issuer.provisioning.run(
        jobIdOf(request),
        { key, firstRow: first_row, rows: rows.map(readRow) },
        administratorOf(request),
      );
      return { job: jobView(job), results: results.map((one) => resultView(one, issuer.defaultAudience)) };
    },
  };
}

function listJobs(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listJobs',
        summary: 'List jobs, from new to old',
        querystring: Page,
        response: {
          200: answer(
            'A page',
            Type.Object({ jobs: Type.Array(Type.Unsafe({ $ref: 'Job#' })), next_cursor: nextCursor }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { limit = DEFAULT_PAGE, cursor } = request.query as Static<typeof Page>;
      const found = await issuer.provisioning.list({ before: cursor, limit: limit + 1 });
      const jobs = found.slice(0, limit);
      return {
        jobs: jobs.map(jobView),
        ...(found.length > limit && { next_cursor: jobs.at(-1)?.id }),
      };
    },
  };
}

function showJob(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'getJob',
        summary: 'Show a job',
        params,
        response: { 200: answer('The job', { $ref: 'Job#' }), default: refusal },
      },
    },
    handler: async (request) => jobView(await issuer.provisioning.find(jobIdOf(request))),
  };
}

function cancelJob(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'cancelJob',
        summary: 'Let a job take no more rows',
        description: 'What it made stays. One that has ended stays as it is.',
        params,
        response: { 200: answer('The job', { $ref: 'Job#' }), default: refusal },
      },
    },
    handler: async (request) =>
      jobView(await issuer.provisioning.cancel(jobIdOf(request), administratorOf(request))),
  };
}

function listFailures(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listFailures',
        summary: 'List the rows of a job that failed, in their order',
        params,
        querystring: Page,
        response: {
          200: answer(
            'A page',
            Type.Object({
              failures: Type.Array(Type.Object({ row: Type.Integer(), ...rowError })),
              next_cursor: nextCursor,
            }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { limit = DEFAULT_PAGE, cursor = '0' } = request.query as Static<typeof Page>;
      if (!/^\d{1,15}$/.test(cursor))
        throw new OAuthError('invalid_request', 'cursor is not one of this list');
      const found = await issuer.provisioning.failures(jobIdOf(request), {
        after: Number(cursor),
        limit: limit + 1,
      });
      const failures = found.slice(0, limit);
      return {
        failures: failures.map(({ row, code, description }) => ({
          row,
          error: code,
          error_description: description,
        })),
        ...(found.length > limit && { next_cursor: String(failures.at(-1)?.row) }),
      };
    },
  };
}

function jobView(job: JobRecord) {
  return {
    job_id: job.id,
    state: job.state,
    template: job.template.name,
    template_version: job.template.version,
    ...(job.source !== undefined && { source: job.source }),
    total: job.total,
    start: job.start,
    next_row: job.nextRow,
    created: job.created,
    failed: job.failed,
    created_by: job.createdBy,
    created_at: time(job.createdAtMs),
    updated_at: time(job.updatedAtMs),
  };
}

function resultView(result: RowResult, defaultAudience: readonly string[]) {
  const { row, outcome } = result;
  if (outcome === 'failed') {
    return { row, outcome, error: result.code, error_description: result.description };
  }
  const { clientId, authMethod, audience } = result.client;
  return {
    row,
    outcome,
    client_id: clientId,
    auth_method: authMethod,
    audience: audience.length > 0 ? audience : defaultAudience,
    ...(result.shown === undefined
      ? { notice: 'its secret was replaced or has ended since; rotate it' }
      : credentialView(result.shown)),
  };
}
