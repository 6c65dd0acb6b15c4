import { FleetgateError, type JsonWebKeySet } from '@fleetgate/shared';
import type { FastifyPluginAsync } from 'fastify';
import type { ApiKeys } from './api-keys.ts';
import { appPath } from './apps/app-id.ts';
import { type App, type Apps, openApps } from './apps/apps.ts';
import { certificateAuthMethods } from './client-auth/methods.ts';
import { type CoapServer, startCoapServer } from './coap/server.ts';
import { adminRoutes } from './http/admin.ts';
import { type AppMounts, appMounts } from './http/app-mount.ts';
import type { KeyHolder } from './http/key-holder.ts';
import { publicRoutes } from './http/public.ts';
import { logRequests } from './http/request-log.ts';
import { openHttpServer } from './http/server.ts';
import type { TlsMaterial } from './http/tls.ts';
import type { Listener } from './observer.ts';
import { openIssuer } from './open-issuer.ts';
import { checkIssuerUrl, type HttpOptions, type IssuerOptions, resolveOptions } from './options.ts';
import type { RevocationFeed } from './revocation-feed.ts';

export interface RunningIssuer {
  /** `iss` of its tokens. */
  readonly url: string;
  /** Actual port of the public listener. */
  readonly port: number;
  /** `coap://host:port`; unset where CoAP is not served. */
  readonly coapUrl: string | undefined;
  /** The public keys, for a broker in the same process. */
  jwks(): JsonWebKeySet;
  /** What is revoked, for a broker in the same process. */
  readonly revocations: Pick<RevocationFeed, 'subscribe'>;
  /** The admin API as a Fastify plugin, for the admin listener that the composition root owns. */
  adminRoutes(options: {
    readonly adminKey: string;
    readonly keyHolder?: KeyHolder | undefined;
  }): FastifyPluginAsync;
  /** Records that somebody was refused as an administrator; see {@link ApiKeys.recordRefused}. */
  readonly recordRefused: ApiKeys['recordRefused'];
  /**
   * Reads certificate, key and authorities of the public listener again, for connections from then on. What is wrong
   * with them is thrown, and the old ones stay. Does nothing without TLS.
   */
  reloadCertificates(): Promise<void>;
  /** Whether the registry can be read and written. */
  isReady(): Promise<boolean>;
  /** Stops accepting, finishes what is in flight, closes the database; within 10 s. */
  close(): Promise<void>;
}

/**
 * Starts an issuer: registry, signing keys and the public HTTP listener.
 * @throws FleetgateError `config_invalid`, `address_in_use`, `key_file_invalid`, `registry_unavailable`,
 *   `registry_schema_newer`; what reading the TLS material throws
 */
export async function startIssuer(options: IssuerOptions): Promise<RunningIssuer> {
  const resolved = resolveOptions(options);
  const { http, log } = resolved;
  if (resolved.url === undefined) checkIssuerUrl(urlOf(http, http.port));
  const tls = await http.tls?.();
  let url = resolved.url;
  let coap: CoapServer | undefined;
  const issuer = await openIssuer(
    resolved,
    () => url ?? notListening(),
    () => coap && coapUrl(resolved.coap?.host ?? '', coap.port, issuer.url()),
  );
  const mounts: AppMounts[] = [];
  let apps: Apps | undefined;
  try {
    const opened = await openApps({
      directory: resolved.appsDirectory,
      open: (appId, database) =>
        openIssuer(
          { ...resolved, coap: undefined, database, log: log?.child({ app: appId }) },
          () => `${issuer.url()}${appPath(appId)}`,
        ),
      recordEvent: issuer.recordEvent,
      drain: async (app) => {
        for (const each of mounts) await each.drain(app);
      },
      now: resolved.now,
      log,
    });
    apps = opened;
    const { observer } = resolved;
    const mountApps = (
      listener: Listener,
      routesOf: (app: App) => FastifyPluginAsync,
      path = '',
    ): FastifyPluginAsync => {
      const mounted = appMounts({ routesOf, apps: opened, path, log, logged: { listener, observer } });
      mounts.push(mounted);
      return mounted.plugin;
    };
    const server = openHttpServer(log, {
      tls,
      maxAddressConnections: resolved.limits.maxAddressConnections,
      logged: { listener: 'public', observer },
    });
    const shared = {
      byCertificate: certificateMethods(tls),
      now: resolved.now,
      ...resolved.revocationFeed,
    };
    await server.app.register(publicRoutes(issuer, { configuredUrl: resolved.url, ...shared }));
    await server.app.register(
      mountApps(
        'public',
        (app) => publicRoutes(app.issuer, { configuredUrl: undefined, ...shared }),
        pathOf(resolved.url),
      ),
    );
    if (resolved.coap !== undefined) {
      const { deviceContexts: contexts } = issuer;
      coap = await startCoapServer({ ...resolved.coap, issuer, contexts, log });
    }
    const port = await server.listen(http);
    url ??= urlOf(http, port);
    observer?.watch({
      figures: () => Promise.all([issuer.figures(), ...opened.list().map((app) => app.issuer.figures())]),
      now: resolved.now,
    });
    return {
      url,
      port,
      coapUrl: issuer.coapTokenEndpoint()?.replace(/\/token$/, ''),
      jwks: () => issuer.jwks(),
      revocations: { subscribe: issuer.revocationFeed.subscribe },
      adminRoutes:
        ({ adminKey, keyHolder }) =>
        async (admin) => {
          logRequests(admin, { listener: 'admin', observer });
          await admin.register(adminRoutes(issuer, adminKey, { apps: opened, keyHolder }));
          await admin.register(mountApps('admin', (app) => adminRoutes(app.issuer, app.adminKey)));
        },
      recordRefused: (...refused) => issuer.apiKeys.recordRefused(...refused),
      async reloadCertificates() {
        const renewed = await http.tls?.();
        if (renewed !== undefined) server.useTls(renewed);
      },
      isReady: () => issuer.isReady(),
      async close() {
        await Promise.all([server.close(), coap?.close()]);
        await opened.close();
        await issuer.close();
      },
    };
  } catch (error) {
    await coap?.close();
    await apps?.close();
    await issuer.close();
    throw error;
  }
}

// What a proxy in front may keep of the issuer's URL, or strip.
function pathOf(url: string | undefined): string {
  return url === undefined ? '' : new URL(url).pathname.replace(/\/+$/, '');
}

/** An authority can be asked only where one is known. */
function certificateMethods(tls: TlsMaterial | undefined): readonly string[] {
  if (tls === undefined) return [];
  return tls.ca === undefined ? ['self_signed_tls_client_auth'] : certificateAuthMethods;
}

function urlOf({ host, tls }: HttpOptions, port: number): string {
  // An address that stands for all of this machine leads nowhere from another.
  if (tls !== undefined && ['0.0.0.0', '::'].includes(host)) {
    throw new FleetgateError('config_invalid', `issuer.url is missing; with issuer.http.host ${host} set it`);
  }
  const scheme = tls === undefined ? 'http' : 'https';
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** An address that stands for all of this machine leads nowhere: then by the name that the issuer has. */
function coapUrl(host: string, port: number, issuerUrl: string): string {
  const name = ['0.0.0.0', '::'].includes(host) ? new URL(issuerUrl).hostname : host;
  return `coap://${name.includes(':') && !name.startsWith('[') ? `[${name}]` : name}:${port}/token`;
}

// A request cannot come before the listener has its port; if it did, it would be refused.
function notListening(): never {
  throw new Error('the issuer has no URL yet');
}
