import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../bench/free-port.ts';
import { type Postgres, startPostgres } from '../../bench/postgres.ts';
import { type Balancer, startBalancer } from './balancer.ts';
import {
  type RunningFleetgate,
  requestToken,
  startFleetgate,
  temporaryDirectory,
} from './fleetgate-process.ts';

/** How long a client tries again: an issuer is away for a second or two. */
const MAX_RETRY_MS = 30_000;

/** Two issuers on one PostgreSQL, each a process, behind plain TCP balancers. */
export interface PostgresIssuers {
  readonly postgres: Postgres;
  /** Those that run now. */
  readonly issuers: RunningFleetgate[];
  /** `iss`: the balancer. */
  readonly url: string;
  readonly adminUrl: string;
  readonly adminKeyFile: string;
  readonly front: Balancer;
  /** For files of the test. */
  readonly directory: string;
  /** Kills one and starts it again. */
  restart(n: number): Promise<void>;
  /** A request to the admin API that is sent until it is answered. */
  callAdmin(method: string, path: string, body?: unknown): Promise<Response>;
  tokenOf(clientId: string, secret: string): Promise<Response>;
  stop(): Promise<void>;
}

export async function startPostgresIssuers(): Promise<PostgresIssuers> {
  const work = temporaryDirectory();
  mkdirSync(work.path, { recursive: true });
  const postgres = await startPostgres({ fsync: 'on' });
  const issuers: RunningFleetgate[] = [];
  // What an issuer says of itself is the balancer.
  const publicPorts = [await freePort(), await freePort()];
  const front = await startBalancer(() => publicPorts);
  const admin = await startBalancer(() =>
    issuers.map(({ ready }) => Number(new URL(ready['admin'] as string).port)),
  );
  const url = `http://127.0.0.1:${front.port}`;
  const adminUrl = `http://127.0.0.1:${admin.port}`;
  const directoryOf = (n: number) => join(work.path, `issuer-${n}`);
  const adminKeyFile = join(directoryOf(0), 'admin.key');

  /** What all issuers on one database share beside it: the key that encrypts the signing keys, and the API key. */
  function share(n: number): void {
    if (n === 0) return;
    mkdirSync(directoryOf(n), { recursive: true, mode: 0o700 });
    for (const file of ['key-encryption.key', 'admin.key']) {
      copyFileSync(join(directoryOf(0), file), join(directoryOf(n), file));
    }
  }

  function start(n: number): Promise<RunningFleetgate> {
    share(n);
    const settings = {
      'issuer.database': postgres.url('issuers'),
      'issuer.url': url,
      'issuer.http.port': publicPorts[n],
      'issuer.coap.enabled': false,
      'admin.port': 0,
    };
    const set = Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
    return startFleetgate(['issuer', '--json', '--data', directoryOf(n), ...set]);
  }

  for (const n of publicPorts.keys()) issuers[n] = await start(n);
  const key = readFileSync(adminKeyFile, 'utf8').trim();

  return {
    postgres,
    issuers,
    url,
    adminUrl,
    adminKeyFile,
    front,
    directory: work.path,
    async restart(n) {
      await (issuers[n] as RunningFleetgate).stop('SIGKILL');
      issuers[n] = await start(n);
    },
    callAdmin: (method, path, body) =>
      persistently(() =>
        fetch(`${adminUrl}/v1${path}`, {
          method,
          headers: { 'api-key': key, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        }),
      ),
    tokenOf: (clientId, secret) => persistently(() => requestToken(url, clientId, secret)),
    async stop() {
      for (const each of issuers) await each.stop();
      await front.close();
      await admin.close();
      await postgres.stop();
      work.remove();
    },
  };
}

/** As any client should: again after a lost connection and a 503, until it is answered. */
async function persistently(ask: () => Promise<Response>): Promise<Response> {
  const untilMs = Date.now() + MAX_RETRY_MS;
  for (;;) {
    const answer = await ask().catch((error: unknown) => error as Error);
    if (!(answer instanceof Error) && answer.status !== 503) return answer;
    if (Date.now() > untilMs) throw new Error('nobody answered', { cause: answer });
    if (!(answer instanceof Error)) await answer.arrayBuffer();
    await sleep(50 + Math.random() * 100);
  }
}
