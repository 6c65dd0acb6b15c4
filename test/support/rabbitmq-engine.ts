import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type RunningRabbitmq, startRabbitmq } from '../../bench/broker/rabbitmq.ts';
import { freePort } from '../../bench/free-port.ts';
import {
  type Authority,
  type CertificateFolder,
  certificateFolder,
  createAuthority,
} from './certificates.ts';
import {
  freePorts,
  type RunningFleetgate,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from './fleetgate-process.ts';
import { httpsFetch } from './https-fetch.ts';
import { pageFiles } from './page-commands.ts';

const files = pageFiles(readFileSync(resolve(import.meta.dirname, '../../docs/engines.md'), 'utf8'));
const pageFile = (name: string) => files.get(name) as string;

/** The policy that the page shows. */
export const pagePolicy = pageFile('policy.yaml');

/** RabbitMQ that trusts an issuer over TLS, both configured as docs/engines.md shows, but for ports and paths. */
export interface RabbitmqEngine {
  readonly issuer: RunningFleetgate;
  readonly authority: Authority;
  /** `mqtts://…` */
  readonly url: string;
  readonly caFile: string;
  /** Registers a client, for RabbitMQ alone, and gives its credentials file. */
  register(clientId: string, scope: string, ...more: string[]): Promise<string>;
  /** What the token endpoint answers the client of a credentials file. */
  token(
    credentialsFile: string,
    scope?: string,
    audience?: string,
  ): Promise<{ access_token?: string; error_description?: string }>;
  fleetgate(...args: string[]): ReturnType<typeof runFleetgate>;
  stop(): Promise<void>;
}

/** @param morePolicy scopes beside those of the page */
export async function startRabbitmqEngine(morePolicy: string): Promise<RabbitmqEngine> {
  const data = temporaryDirectory();
  const folder = certificateFolder();
  const authority = await createAuthority();
  const server = await authority.issue('localhost');
  const caFile = folder.write('ca.pem', authority.cert);
  for (const name of ['issuer', 'server']) {
    folder.write(`${name}.pem`, server.cert);
    folder.write(`${name}.key`, server.key);
  }
  folder.write('policy.yaml', pagePolicy + morePolicy);
  // Its own address is that of the listener, for want of the example's name.
  const config = pageFile('fleetgate.yaml').replace('  url: https://auth.example.com\n', '');
  const issuer = await startFleetgate([
    'issuer',
    ...freePorts(data.path),
    ...['--config', folder.write('fleetgate.yaml', config)],
  ]);
  const fetch = httpsFetch({ ca: authority.cert });
  const fleetgate = (...args: string[]) => runFleetgate([...args, '--data', data.path]);
  let node: RunningRabbitmq | undefined;
  const stop = async () => {
    await node?.stop();
    await issuer.stop();
    folder.remove();
    data.remove();
  };
  const port = await freePort();
  try {
    node = await startRabbitmq(port, rabbitmqFiles(port, issuer.ready['issuer'] as string, folder));
  } catch (error) {
    await stop();
    throw error;
  }
  const url = `mqtts://localhost:${port}`;
  return {
    issuer,
    authority,
    url,
    caFile,
    async register(clientId, scope, ...more) {
      const out = join(folder.path, `${clientId}.json`);
      const created = await fleetgate(
        ...[
          'client',
          'create',
          '--id',
          clientId,
          '--scope',
          scope,
          '--audience',
          'rabbitmq',
          '--out',
          out,
          ...more,
        ],
      );
      if (created.code !== 0) throw new Error(created.stderr);
      const credentials = JSON.parse(readFileSync(out, 'utf8')) as object;
      writeFileSync(out, JSON.stringify({ ...credentials, broker: { url, ca_file: caFile } }), {
        mode: 0o600,
      });
      return out;
    },
    async token(credentialsFile, scope, audience) {
      const { client_id, auth } = JSON.parse(readFileSync(credentialsFile, 'utf8')) as {
        client_id: string;
        auth: { client_secret: string };
      };
      const response = await fetch(`${issuer.ready['issuer']}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({
          ...{ grant_type: 'client_credentials', client_id, client_secret: auth.client_secret },
          ...(scope === undefined ? {} : { scope }),
          ...(audience === undefined ? {} : { audience }),
        }),
      });
      return (await response.json()) as { access_token?: string };
    },
    fleetgate,
    stop,
  };
}

function rabbitmqFiles(port: number, issuer: string, { path }: CertificateFolder) {
  const rabbitmqConf = pageFile('rabbitmq.conf')
    .replace('https://auth.example.com', issuer.replace('127.0.0.1', 'localhost'))
    .replace('/etc/rabbitmq/issuer-ca.pem', join(path, 'ca.pem'))
    .replaceAll('/etc/rabbitmq', path)
    .replace('= 8883', `= 127.0.0.1:${port}`);
  return {
    rabbitmqConf: `${rabbitmqConf}log.console = false\n`,
    enabledPlugins: pageFile('enabled_plugins'),
  };
}
