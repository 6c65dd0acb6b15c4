/** One issuer in a process of its own. Gets what to serve by IPC, answers with its token endpoint, and with its memory and time when asked. */
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import type { SigningAlgorithm } from '@fleetgate/shared';
import { AUDIENCE, clientId, clientKeys, clientSecret, SCOPE } from './clients.ts';
import type { BenchAuth } from './goals.ts';

export interface ServeTask {
  readonly subject: 'fleetgate' | 'oidc-provider';
  readonly algorithm: SigningAlgorithm;
  readonly auth: BenchAuth;
  /** Whether to serve CoAP as well. */
  readonly hasCoap?: boolean;
  /** Of the database with the clients; of fleetgate only. */
  readonly directory: string;
  /** Default: a file in it. */
  readonly database?: string;
}

export interface TokenEndpoint {
  readonly port: number;
  /** UDP; of fleetgate only, where it was asked for. */
  readonly coapPort?: number | undefined;
  readonly path: string;
  /** Its `iss`, the audience of client assertions. */
  readonly issuer: string;
}

/** Seconds a token lives. */
const LIFETIME = 900;

/** What one client at one address may ask for: more than it can, so that what is measured is issuing. Counted all the same. */
const UNREACHED_PER_SECOND = 1_000_000;

function start(task: ServeTask): Promise<TokenEndpoint> {
  return task.subject === 'fleetgate' ? startFleetgate(task) : startOidcProvider(task.algorithm, task.auth);
}

async function startFleetgate({
  algorithm: signingAlgorithm,
  directory,
  database = join(directory, 'fleetgate.db'),
  hasCoap = false,
}: ServeTask): Promise<TokenEndpoint> {
  // Each loads its own code alone: the memory of the process is compared.
  const { startIssuer } = await import('@fleetgate/issuer');
  const { port, url, coapUrl } = await startIssuer({
    http: { host: '127.0.0.1', port: 0 },
    ...(hasCoap ? { coap: { host: '127.0.0.1', port: 0 } } : {}),
    database,
    keyEncryptionKeyFile: join(directory, 'key-encryption.key'),
    tokenLifetimeSeconds: LIFETIME,
    signingAlgorithm,
    limits: {
      maxClientTokensPerSecond: UNREACHED_PER_SECOND,
      maxAddressRequestsPerSecond: UNREACHED_PER_SECOND,
    },
  });
  return {
    port,
    path: '/oauth/token',
    issuer: url,
    ...(coapUrl && { coapPort: Number(new URL(coapUrl).port) }),
  };
}

/** With its in-memory adapter; JWT access tokens come by way of a resource server (RFC 8707). */
async function startOidcProvider(algorithm: SigningAlgorithm, auth: BenchAuth): Promise<TokenEndpoint> {
  const { Provider } = await import('oidc-provider');
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
  const issuer = 'http://127.0.0.1';
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: clientId(0),
        ...(auth === 'private_key_jwt'
          ? { jwks: { keys: [clientKeys(0).publicJwk] }, token_endpoint_auth_signing_alg: 'ES256' }
          : { client_secret: clientSecret(0) }),
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
        scope: SCOPE,
        token_endpoint_auth_method: auth,
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
      resolve({ port: (server.address() as { port: number }).port, path: '/token', issuer });
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
