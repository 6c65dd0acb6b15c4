import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { appPath } from '../apps/app-id.ts';
import type { App, Apps } from '../apps/apps.ts';
import { paths } from './metadata.ts';
import type { RequestLogOptions } from './request-log.ts';
import { openHttpServer } from './server.ts';

/** The routes of one app on one listener: an instance of their own, so that no route can meet another app's issuer. */
interface Mounted {
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** Ends what would go on for ever, and settles when no request is in flight. */
  close(): Promise<void>;
}

export interface AppMounts {
  /** Serves the apps on a listener: all below `/appid-<id>`, and the metadata where RFC 8414 §3.1 puts it. */
  readonly plugin: FastifyPluginAsync;
  /** Settles when no request to this app is in flight. */
  drain(app: App): Promise<void>;
}

export interface MountOptions {
  readonly routesOf: (app: App) => FastifyPluginAsync;
  readonly apps: Pick<Apps, 'find'>;
  /** Path of the issuer's URL, which a proxy in front may keep or strip; '' for none. */
  readonly path: string;
  readonly log: Logger | undefined;
  /** Who counts the refusals of this listener. */
  readonly logged: RequestLogOptions;
}

/** Mounts the apps. The routes of one are made at its first request. */
export function appMounts({ routesOf, apps, path, log, logged }: MountOptions): AppMounts {
  const mounts = new Map<App, Promise<Mounted>>();

  function mountOf(app: App): Promise<Mounted> {
    const known = mounts.get(app);
    if (known !== undefined) return known;
    const mounted = mount(routesOf(app), appPath(app.appId), {
      ...logged,
      log: log?.child({ app: app.appId }),
    });
    mounts.set(app, mounted);
    mounted.catch((error: unknown) => {
      mounts.delete(app);
      log?.error({ event: 'app_failed', err: error, app: app.appId }, 'an app cannot be served');
    });
    return mounted;
  }

  /** @param rewrite the path as the app's routes know it; they know none of what is in front */
  const dispatch = (rewrite: (url: string, appId: string) => string) =>
    async function hand(request: FastifyRequest, reply: FastifyReply) {
      const { app_id: appId } = request.params as { app_id: string };
      const app = apps.find(appId);
      if (app === undefined) {
        request.refusalReason = 'app_unknown';
        return reply
          .code(404)
          .header('cache-control', 'no-store')
          .send({ error: 'app_unknown', error_description: 'there is no such app' });
      }
      const mounted = await mountOf(app);
      const { raw } = request;
      raw.url = rewrite(raw.url ?? '/', appId);
      request.isHandedOn = true;
      reply.hijack();
      mounted.handle(raw, reply.raw);
      return reply;
    };

  return {
    async plugin(listener) {
      const serve = (url: string, hand: ReturnType<typeof dispatch>) =>
        // Before the body is read, which is for the app's routes to do.
        listener.all(url, { onRequest: hand }, () => undefined);
      for (const prefix of new Set(['', path])) {
        const below = dispatch((url) => url.slice(prefix.length));
        serve(`${prefix}/appid-:app_id`, below);
        serve(`${prefix}/appid-:app_id/*`, below);
        serve(
          `${paths.oauthMetadata}${prefix}/appid-:app_id`,
          dispatch((_url, appId) => `${appPath(appId)}${paths.oauthMetadata}`),
        );
      }
      listener.addHook('preClose', async () => {
        await Promise.all(Array.from(mounts.values(), async (mounted) => (await mounted).close()));
      });
    },
    async drain(app) {
      const mounted = await mounts.get(app);
      mounts.delete(app);
      await mounted?.close();
    },
  };
}

async function mount(
  routes: FastifyPluginAsync,
  prefix: string,
  { log, ...logged }: RequestLogOptions & Pick<MountOptions, 'log'>,
): Promise<Mounted> {
  // It never listens: the listener hands it requests.
  const app: FastifyInstance = openHttpServer(log, { logged }).app;
  await app.register(routes, { prefix });
  await app.ready();
  const inFlight = new Set<ServerResponse>();
  let idle: (() => void) | undefined;

  return {
    handle(request, response) {
      inFlight.add(response);
      response.once('close', () => {
        inFlight.delete(response);
        if (inFlight.size === 0) idle?.();
      });
      app.routing(request, response);
    },
    async close() {
      await app.close();
      if (inFlight.size === 0) return;
      await new Promise<void>((resolve) => {
        idle = resolve;
      });
    },
  };
}
