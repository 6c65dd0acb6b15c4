import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { TSchema } from 'typebox';
import { Problem, sendProblem } from './problem.ts';
import { addRoute } from './routes.ts';

const description = `The admin API of a Fleetgate issuer, on its admin listener. A request holds an API key, in \`api-key\` or as a
bearer token. Each operation says which roles may use it. Errors are problem details (RFC 9457); \`code\` is stable.`;

/**
 * Serves at `/openapi.json` what the schemas of the routes say, to anybody, as it holds nothing of this installation.
 * Call it before the routes are added; a route without a tag is not in it.
 */
export async function serveOpenApi(app: FastifyInstance): Promise<void> {
  app.addSchema(Problem);
  await app.register(swagger, {
    hideUntagged: true,
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Fleetgate admin API',
        version: '1',
        description,
        license: { name: 'MIT', identifier: 'MIT' },
      },
      // Relative to the document: the listener knows no name of its own.
      servers: [{ url: '/' }],
      components: {
        securitySchemes: {
          apiKey: { type: 'apiKey', in: 'header', name: 'api-key' },
          bearer: { type: 'http', scheme: 'bearer' },
        },
      },
      security: [{ apiKey: [] }, { bearer: [] }],
    },
    refResolver: { buildLocalReference: (json, _base, _fragment, i) => String(json['$id'] ?? `schema-${i}`) },
    transform: ({ schema, url, route }) => {
      // Hidden, as untagged.
      if (schema?.tags === undefined) return { schema, url };
      const { roles = ['admin'] } = route.config ?? {};
      const description = [schema.description, `Roles: ${roles.join(', ')}.`].filter(Boolean).join('\n\n');
      return { schema: { ...schema, description }, url };
    },
  });
  app.setErrorHandler(sendProblem);
  addRoute(app, '/openapi.json', {
    GET: { handler: (_request, reply: FastifyReply) => reply.send(app.swagger()) },
  });
}

/** An answer in a route's schema: what it is, and the headers worth knowing. */
export function answer(
  description: string,
  schema: TSchema | { readonly $ref: string },
  headers: Readonly<Record<string, string>> = {},
) {
  return {
    description,
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, text]) => [name, { type: 'string', description: text }]),
    ),
    content: { 'application/json': { schema } },
  };
}

/** The answer to all that is refused. */
export const refusal = {
  description: 'Refused',
  content: { 'application/problem+json': { schema: { $ref: 'Problem#' } } },
};
