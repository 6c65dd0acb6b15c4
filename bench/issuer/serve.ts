/** One issuer in a process of its own. Gets what to serve by IPC, answers with its token endpoint, and with its memory and time when asked. */
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { startIssuer } from '@fleetgate/issuer';
import type { SigningAlgorithm } from '@fleetgate/shared';
import { Provider } from 'oidc-provider';
import { AUDIENCE, clientId, clientSecret, SCOPE } from './clients.ts';

export interface ServeTask {
  readonly subject: 'fleetgate' | 'oidc-provider';
  readonly algorithm: SigningAlgorithm;
  /** Of the database with the clients; of fleetgate only. */
  readonly directory: string;
}

export interface TokenEndpoint {
  readonly port: number;
  readonly path: string;
}

/** Seconds a token lives. */
const LIFETIME = 900;

function start({ subject, algorithm, directory }: ServeTask): Promise<TokenEndpoint> {
  return subject === 'fleetgate' ? startFleetgate(algorithm, directory) : startOidcProvider(algorithm);
}

async function startFleetgate(signingAlgorithm: SigningAlgorithm, directory: string): Promise<TokenEndpoint> {
  const { port } = await startIssuer({
    http: { host: '127.0.0.1', port: 0 },
    databaseFile: join(directory, 'fleetgate.db'),
    keyEncryptionKeyFile: join(directory, 'key-encryption.key'),
    tokenLifetimeSeconds: LIFETIME,
    signingAlgorithm,
  });
  return { port, path: '/oauth/token' };
}

/** With its in-memory adapter; JWT access tokens come by way of a resource server (RFC 8707). */
async function startOidcProvider(algorithm: SigningAlgorithm): Promise<TokenEndpoint> {
  const { privateKey } =
    algorithm === 'EdDSA'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: algorithm, kid: 'bench' };
  const resourceServer = {
    scope: SCOPE,
    audience: AUDIENCE,
    accessTokenTTL: LIFETIME,
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: algorithm } },
  };
  const provider = new Provider('http://127.0.0.1', {
    clients: [
      {
        client_id: clientId(0),
        client_secret: clientSecret(0),
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
        scope: SCOPE,
        token_endpoint_auth_method: 'client_secret_basic',
        // Not used here, but its default asks for a key of RSA.
        id_token_signed_response_alg: algorithm,
      },
    ],
    scopes: SCOPE.split(' '),
    jwks: { keys: [jwk] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => AUDIENCE,
        getResourceServerInfo: () => resourceServer,
      },
    },
  });
  return new Promise((resolve) => {
    const server = provider.listen(0, '127.0.0.1', () => {
      resolve({ port: (server.address() as { port: number }).port, path: '/token' });
    });
  });
}

process.on('SIGTERM', () => process.exit(0));
process.on('message', async (message: { start?: ServeTask; memory?: true; cpu?: true }) => {
  if (message.start !== undefined) process.send?.(await start(message.start));
  if (message.memory === true) {
    globalThis.gc?.();
    globalThis.gc?.();
    process.send?.({ rssBytes: process.memoryUsage().rss });
  }
  if (message.cpu === true) {
    const { user, system } = process.cpuUsage();
    process.send?.({ cpuMicroseconds: user + system });
  }
});
