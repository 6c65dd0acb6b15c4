import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { freePort } from './free-port.ts';

const VERSIONS = '/usr/lib/postgresql';

/** Whether tests that need it are skipped. With CI set none is, for want of a program. */
export const isPostgresMissing = !existsSync(VERSIONS) && process.env['CI'] === undefined;

/** A PostgreSQL server of its own, on loopback, which ends with the test file. */
export interface Postgres {
  readonly port: number;
  readonly process: ChildProcess;
  /** A URL of the database; `schema` is new each time unless it is named. */
  url(schema?: string): string;
  query(text: string): Promise<pg.QueryResult>;
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>;
  /** Starts it again on the same data and port. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts Debian's PostgreSQL. `settings` are of its configuration; without `fsync` it is quick and forgets in a crash. */
export async function startPostgres(settings: Record<string, string> = {}): Promise<Postgres> {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-postgres-'));
  const data = join(directory, 'data');
  const [version] = readdirSync(VERSIONS).sort().reverse();
  const program = (name: string) => join(VERSIONS, version as string, 'bin', name);
  // The server refuses to run as root; Debian's package made it a user.
  const isRoot = process.getuid?.() === 0;
  const user = isRoot ? { uid: idOf('-u'), gid: idOf('-g') } : {};
  if (isRoot) chownSync(directory, idOf('-u'), idOf('-g'));
  const made = spawnSync(
    program('initdb'),
    ['-D', data, '-U', 'fleetgate', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'],
    { ...user, cwd: directory, encoding: 'utf8' },
  );
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`);
  const port = await freePort();
  const all = { fsync: 'off', ...settings };
  const args = [
    ...['-D', data, '-p', String(port), '-k', directory, '-c', 'listen_addresses=127.0.0.1'],
    ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
  let child: ChildProcess;
  let schemas = 0;

  const base = `postgres://fleetgate@127.0.0.1:${port}/postgres`;

  async function query(text: string): Promise<pg.QueryResult> {
    const client = new pg.Client({ connectionString: base });
    await client.connect();
    try {
      return await client.query(text);
    } finally {
      await client.end();
    }
  }

  async function start(): Promise<void> {
    child = spawn(program('postgres'), args, { ...user, cwd: directory, stdio: 'ignore' });
    for (let tries = 0; ; tries += 1) {
      try {
        await query('SELECT 1');
        return;
      } catch (error) {
        if (tries === 200 || child.exitCode !== null) throw error;
        await sleep(50);
      }
    }
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once('close', done));
    child.kill(signal);
    await ended;
  }

  await start();
  return {
    port,
    get process() {
      return child;
    },
    url(schema) {
      schemas += 1;
      return `${base}?schema=${schema ?? `test_${schemas}`}`;
    },
    query,
    start,
    // Immediate shutdown: no checkpoint, and the backends end too.
    kill: () => end('SIGQUIT'),
    async stop() {
      await end('SIGINT');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function idOf(option: '-u' | '-g'): number {
  return Number(spawnSync('id', [option, 'postgres'], { encoding: 'utf8' }).stdout);
}
