import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { readRow } from '../fleet/device-row.ts';
import { MAX_ROWS } from '../fleet/provisioning.ts';
import type { Issuer } from '../open-issuer.ts';
import { administratorOf } from './admin-access.ts';
import { firstRow, MAX_ROWS_BYTES, Rows, start } from './device-row.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';
import { Template, TemplateBody, templateView, toTemplate } from './template-wire.ts';

const tags = ['fleet'];
const params = Type.Object({ name: Type.String() });
const nameOf = ({ params }: FastifyRequest) => (params as { name: string }).name;

const Version = Type.Object(
  { version: Type.Optional(Type.Integer({ minimum: 1, description: 'Default: the newest' })) },
  { additionalProperties: false },
);

const Preview = Type.Object(
  {
    rows: Rows,
    first_row: Type.Optional(firstRow),
    start: Type.Optional(start),
  },
  { additionalProperties: false },
);

/** `/v1/templates`. */
export function templateRoutes(app: FastifyInstance, issuer: Issuer): void {
  app.addSchema(Template);
  addRoute(app, '/templates', { GET: listTemplates(issuer) });
  addRoute(app, '/templates/:name', {
    GET: showTemplate(issuer),
    PUT: putTemplate(issuer),
    DELETE: deleteTemplate(issuer),
  });
  addRoute(app, '/templates/:name/preview', { POST: preview(issuer) });
}

function putTemplate(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'putTemplate',
        summary: 'Keep a template',
        description:
          'A new version of it, unless it is as the newest. Clients that are there keep what they were made with.',
        params,
        body: TemplateBody,
        response: {
          200: answer('It was so already', { $ref: 'Template#' }),
          201: answer('Kept, as a new version', { $ref: 'Template#' }),
          default: refusal,
        },
      },
    },
    async handler(request, reply) {
      const template = toTemplate(request.body as object);
      const put = await issuer.templates.put(nameOf(request), template, administratorOf(request));
      return reply.code(put.isNew ? 201 : 200).send(templateView(put.record));
    },
  };
}

function listTemplates(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listTemplates',
        summary: 'List templates, ordered by name',
        response: {
          200: answer(
            'The newest version of each',
            Type.Object({ templates: Type.Array(Type.Unsafe({ $ref: 'Template#' })) }),
          ),
          default: refusal,
        },
      },
    },
    handler: async () => ({ templates: (await issuer.templates.list()).map(templateView) }),
  };
}

function showTemplate(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'getTemplate',
        summary: 'Show a template',
        params,
        querystring: Version,
        response: { 200: answer('The template', { $ref: 'Template#' }), default: refusal },
      },
    },
    async handler(request) {
      const { version } = request.query as Static<typeof Version>;
      return templateView(await issuer.templates.find(nameOf(request), version));
    },
  };
}

function deleteTemplate(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'deleteTemplate',
        summary: 'Forget all versions of a template',
        description: 'What it made stays, and a job that runs goes on with it.',
        params,
        response: { 204: { type: 'null', description: 'Forgotten' }, default: refusal },
      },
    },
    async handler(request, reply) {
      await issuer.templates.delete(nameOf(request), administratorOf(request));
      return reply.code(204).send();
    },
  };
}

function preview(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      bodyLimit: MAX_ROWS_BYTES,
      schema: {
        tags,
        operationId: 'previewRows',
        summary: 'Say what rows would make of a template',
        description: `Nothing is written. At most ${MAX_ROWS} rows.`,
        params,
        body: Preview,
        response: {
          200: answer(
            'For each row the client id, or why it would fail',
            Type.Object({
              results: Type.Array(
                Type.Object({
                  row: Type.Integer(),
                  client_id: Type.Optional(Type.String()),
                  error: Type.Optional(Type.String()),
                  error_description: Type.Optional(Type.String()),
                }),
              ),
            }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { rows, first_row = 1, start = 1 } = request.body as Static<typeof Preview>;
      const previews = await issuer.provisioning.preview(nameOf(request), {
        firstRow: first_row,
        start,
        rows: rows.map(readRow),
      });
      return {
        results: previews.map((one) =>
          'clientId' in one
            ? { row: one.row, client_id: one.clientId }
            : { row: one.row, error: one.code, error_description: one.description },
        ),
      };
    },
  };
}
