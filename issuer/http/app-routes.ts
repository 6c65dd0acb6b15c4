import { FleetgateError } from '@fleetgate/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import type { App, Apps } from '../apps/apps.ts';
import { administratorOf } from './admin-access.ts';
import { addRoute, type MethodRoute } from './routes.ts';

/** The body of `POST /v1/apps`. */
const NewApp = Type.Object({ app_id: Type.String() }, { additionalProperties: false });

/** `/v1/apps`, of the default app alone. */
export function appRoutes(routes: FastifyInstance, apps: Apps): void {
  addRoute(routes, '/apps', { POST: createApp(apps), GET: listApps(apps) });
  addRoute(routes, '/apps/:app_id', { GET: showApp(apps), DELETE: deleteApp(apps) });
}

function createApp(apps: Apps): MethodRoute {
  return {
    options: { schema: { body: NewApp } },
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
  return { handler: () => ({ apps: apps.list().map(view) }) };
}

function showApp(apps: Apps): MethodRoute {
  return {
    async handler(request) {
      const app = apps.find(appIdOf(request));
      if (app === undefined) throw new FleetgateError('app_unknown', 'there is no such app');
      return view(app);
    },
  };
}

function deleteApp(apps: Apps): MethodRoute {
  return {
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
