import type { JsonWebKeySet } from '@fleetgate/shared';
import type { FastifyPluginAsync } from 'fastify';
import { adminRoutes } from './http/admin.ts';
import { publicRoutes } from './http/public.ts';
import { openHttpServer } from './http/server.ts';
import { openIssuer } from './open-issuer.ts';
import { checkIssuerUrl, type IssuerOptions, resolveOptions } from './options.ts';
import type { RevocationFeed } from './revocation-feed.ts';

export interface RunningIssuer {
  /** `iss` of its tokens. */
  readonly url: string;
  /** Actual port of the public listener. */
  readonly port: number;
  /** The public keys, for a broker in the same process. */
  jwks(): JsonWebKeySet;
  /** What is revoked, for a broker in the same process. */
  readonly revocations: Pick<RevocationFeed, 'subscribe'>;
  /** The admin API as a Fastify plugin, for the admin listener that the composition root owns. */
  adminRoutes(options: { readonly adminKey: string }): FastifyPluginAsync;
  /** Whether the registry can be read. */
  isReady(): Promise<boolean>;
  /** Stops accepting, finishes what is in flight, closes the database; within 10 s. */
  close(): Promise<void>;
}

/**
 * Starts an issuer: registry, signing keys and the public HTTP listener.
 * @throws FleetgateError `config_invalid`, `address_in_use`, `key_file_invalid`, `registry_unavailable`,
 *   `registry_schema_newer`
 */
export async function startIssuer(options: IssuerOptions): Promise<RunningIssuer> {
  const resolved = resolveOptions(options);
  const { http, log } = resolved;
  if (resolved.url === undefined) checkIssuerUrl(urlOf(http.host, http.port));
  let url = resolved.url;
  const issuer = await openIssuer(resolved, () => url ?? notListening());
  try {
    const server = openHttpServer(log);
    await server.app.register(
      publicRoutes(issuer, {
        configuredUrl: resolved.url,
        isTls: false,
        now: resolved.now,
        ...resolved.revocationFeed,
      }),
    );
    const port = await server.listen(http);
    url ??= urlOf(http.host, port);
    return {
      url,
      port,
      jwks: () => issuer.jwks(),
      revocations: { subscribe: issuer.revocationFeed.subscribe },
      adminRoutes: ({ adminKey }) => adminRoutes(issuer, adminKey),
      isReady: () => issuer.isReady(),
      async close() {
        await server.close();
        await issuer.close();
      },
    };
  } catch (error) {
    await issuer.close();
    throw error;
  }
}

function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

// A request cannot come before the listener has its port; if it did, it would be refused.
function notListening(): never {
  throw new Error('the issuer has no URL yet');
}
