import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import Type from 'typebox';
import type { Apps } from '../apps/apps.ts';
import type { Issuer } from '../open-issuer.ts';
import { roles } from '../roles.ts';
import { administratorOf, guardAdminRoutes, roleOf } from './admin-access.ts';
import { apiKeyRoutes } from './api-key-routes.ts';
import { appRoutes } from './app-routes.ts';
import { auditRoutes } from './audit-routes.ts';
import { campaignRoutes } from './campaign-routes.ts';
import { clientRoutes } from './client-routes.ts';
import { enrollmentRequestRoutes } from './enrollment-request-routes.ts';
import { enrollmentRoutes } from './enrollment-routes.ts';
import { jobRoutes } from './job-routes.ts';
import type { KeyHolder } from './key-holder.ts';
import { keyRoutes } from './key-routes.ts';
import { answer, refusal, serveOpenApi } from './openapi.ts';
import { sendProblem } from './problem.ts';
import { revocationRoutes } from './revocation-routes.ts';
import { addRoute } from './routes.ts';
import { schemaCompiler } from './schema.ts';
import { secretRoutes } from './secret-routes.ts';
import { selectionRoutes } from './selection-routes.ts';
import { supertokensRoutes } from './supertokens.ts';
import { templateRoutes } from './template-routes.ts';

export interface AdminRoutesOptions {
  /** Given for the default app, which manages them. */
  readonly apps?: Apps | undefined;
  /** Knows keys that are not in the registry, for `/v1`. */
  readonly keyHolder?: KeyHolder | undefined;
}

/**
 * The admin API, for the listener that the composition root owns: `/v1` and SuperTokens' routes.
 */
export function adminRoutes(
  issuer: Issuer,
  adminKey: string,
  { apps, keyHolder }: AdminRoutesOptions = {},
): FastifyPluginAsync {
  return async (app) => {
    await app.register(async (documented) => {
      await serveOpenApi(documented);
      await documented.register(v1(issuer, adminKey, { apps, keyHolder }), { prefix: '/v1' });
    });
    await app.register(supertokensRoutes(issuer, adminKey));
  };
}

function v1(issuer: Issuer, adminKey: string, { apps, keyHolder }: AdminRoutesOptions): FastifyPluginAsync {
  return async (plain) => {
    guardAdminRoutes(plain, issuer, adminKey, keyHolder === undefined ? {} : { keyHolder });
    plain.setErrorHandler(sendProblem);
    plain.setNotFoundHandler((request, reply) => sendProblem({ statusCode: 404 }, request, reply));
    plain.setValidatorCompiler(schemaCompiler);
    // Schemas of answers are for the document: what is sent was made here, and is not filtered.
    plain.setSerializerCompiler(() => JSON.stringify);
    const app = plain.withTypeProvider<TypeBoxTypeProvider>();
    issuerRoute(app, issuer);
    whoamiRoute(app);
    clientRoutes(app, issuer);
    selectionRoutes(app, issuer);
    templateRoutes(app, issuer);
    jobRoutes(app, issuer);
    campaignRoutes(app, issuer);
    enrollmentRoutes(app, issuer);
    enrollmentRequestRoutes(app, issuer);
    secretRoutes(app, issuer);
    keyRoutes(app, issuer);
    revocationRoutes(app, issuer);
    auditRoutes(app, issuer);
    apiKeyRoutes(app, issuer);
    if (apps !== undefined) appRoutes(app, apps);
  };
}

function issuerRoute(app: FastifyInstance, issuer: Issuer): void {
  addRoute(app, '/issuer', {
    GET: {
      openTo: ['provisioner', 'auditor'],
      options: {
        schema: {
          tags: ['issuer'],
          operationId: 'getIssuer',
          summary: 'Name the issuer',
          response: {
            200: answer(
              'The issuer',
              Type.Object({
                issuer: Type.String({ description: '`iss` of its tokens' }),
                coap_token_endpoint: Type.Optional(
                  Type.String({ description: 'where devices with `auth_method` oscore ask for tokens' }),
                ),
              }),
            ),
            default: refusal,
          },
        },
      },
      handler: () => ({ issuer: issuer.url(), coap_token_endpoint: issuer.coapTokenEndpoint() }),
    },
  });
}

function whoamiRoute(app: FastifyInstance): void {
  addRoute(app, '/whoami', {
    GET: {
      openTo: ['provisioner', 'auditor'],
      options: {
        schema: {
          tags: ['issuer'],
          operationId: 'whoami',
          summary: 'Show the API key of this request',
          response: {
            200: answer(
              'The key',
              Type.Object({
                name: Type.String({ description: 'its name in the audit trail' }),
                role: Type.Enum(roles, { description: 'what it may do' }),
              }),
            ),
            default: refusal,
          },
        },
      },
      handler: (request) => ({ name: administratorOf(request).keyName, role: roleOf(request) }),
    },
  });
}
