import { FleetgateError } from '@fleetgate/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import type { App, Apps } from '../apps/apps.ts';
import { administratorOf } from './admin-access.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';

const AppId = Type.String({ description: '`[a-z0-9-]{1,64}`, but not `public`' });

/** The body of `POST /v1/apps`. */
const NewApp = Type.Object({ app_id: AppId }, { additionalProperties: false });

const AppView = Type.Object({
  app_id: Type.String(),
  issuer: Type.String({ description: '`iss` of its tokens' }),
});
const CreatedApp = Type.Object({
  ...AppView.properties,
  admin_key: Type.String({ description: 'opens its admin API; shown this once' }),
});

const params = Type.Object({ app_id: Type.String() });
const tags = ['apps'];

/** `/v1/apps`, of the default app alone. */
export function appRoutes(routes: FastifyInstance, apps: Apps): void {
  addRoute(routes, '/apps', { POST: createApp(apps), GET: listApps(apps) });
  addRoute(routes, '/apps/:app_id', { GET: showApp(apps), DELETE: deleteApp(apps) });
}

function createApp(apps: Apps): MethodRoute {
  return {
    openTo: [],
    options: {
      schema: {
        tags,
        operationId: 'createApp',
        summary: 'Make an app',
        description:
          'An issuer of its own below `/appid-` and its id, on the public and on this listener, with clients, keys, revocations, audit trail and API keys that no other has.',
        body: NewApp,
        response: {
          201: answer('Made', CreatedApp, { location: 'path of the app' }),
          default: refusal,
        },
      },
    },
    async handler(request, reply) {
      const { app_id: appId } = request.body as Static<typeof NewApp>;
      const app = await apps.create(appId, administratorOf(request));
      return reply
        .code(201)
        .header('location', `/v1/apps/${appId}`)
        .send({ ...view(app), admin_key: app.adminKey });
    },
  };
}

// No pages: there are few, by the limit on their number.
function listApps(apps: Apps): MethodRoute {
  return {
    openTo: ['auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listApps',
        summary: 'List apps, ordered by id',
        response: { 200: answer('All apps', Type.Object({ apps: Type.Array(AppView) })), default: refusal },
      },
    },
    handler: () => ({ apps: apps.list().map(view) }),
  };
}

function showApp(apps: Apps): MethodRoute {
  return {
    openTo: ['auditor'],
    options: {
      schema: {
        tags,
        operationId: 'getApp',
        summary: 'Show an app',
        params,
        response: { 200: answer('The app', AppView), default: refusal },
      },
    },
    async handler(request) {
      const app = apps.find(appIdOf(request));
      if (app === undefined) throw new FleetgateError('app_unknown', 'there is no such app');
      return view(app);
    },
  };
}

function deleteApp(apps: Apps): MethodRoute {
  return {
    openTo: [],
    options: {
      schema: {
        tags,
        operationId: 'deleteApp',
        summary: 'Delete an app that has no clients',
        description: 'Its files, with the audit trail, are kept on the disk.',
        params,
        response: { 204: { description: 'Deleted', type: 'null' }, default: refusal },
      },
    },
    async handler(request, reply) {
      await apps.delete(appIdOf(request), administratorOf(request));
      return reply.code(204).send();
    },
  };
}

/** An app as the API shows it; its admin key only in the answer to its creation. */
function view({ appId, issuer }: App) {
  return { app_id: appId, issuer: issuer.url() };
}

const appIdOf = ({ params }: FastifyRequest) => (params as { app_id: string }).app_id;
