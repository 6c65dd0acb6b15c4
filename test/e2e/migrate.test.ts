import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isPostgresMissing, type Postgres, startPostgres } from '../../bench/postgres.ts';
import { openPostgresRegistry } from '../../issuer/registry/postgres/registry.ts';
import { openSqliteRegistry } from '../../issuer/registry/sqlite/registry.ts';
import { client, event } from '../issuer/registry-contract.ts';
import {
  fleetgateCommand,
  freePorts,
  requestToken,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

/** Several batches of each table. */
const CLIENTS = 20_000;
const data = temporaryDirectory();
let postgres: Postgres;

beforeAll(async () => {
  if (isPostgresMissing) return;
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
  data.remove();
});

const fleetgate = (...args: string[]) => runFleetgate([...args, '--data', data.path]);
const verifyAt = (database: string) => {
  const config = join(data.path, 'verified.yaml');
  mkdirSync(data.path, { recursive: true });
  writeFileSync(config, `issuer: { database: '${database}' }\n`);
  return fleetgate('audit', 'verify', '--config', config);
};
const issuerArguments = freePorts(data.path).slice(0, -2);

test.skipIf(isPostgresMissing)(
  'an issuer goes on in PostgreSQL: same clients, same keys, same trail',
  async () => {
    const database = postgres.url('moved');
    const before = await startFleetgate(['issuer', ...issuerArguments]);
    const created = await fleetgate(
      'client',
      'create',
      '--id',
      'press',
      '--scope',
      'telemetry.write',
      '--format',
      'json',
    );
    const { client_secret: secret } = JSON.parse(created.stdout) as { client_secret: string };
    const jwks = await (await fetch(`${before.ready['issuer']}/.well-known/jwks.json`)).json();
    expect((await requestToken(before.ready['issuer'] as string, 'press', secret)).status).toBe(200);

    const running = await fleetgate('migrate', '--to', database);
    expect([running.code, running.stderr]).toEqual([expect.any(Number), expect.stringContaining('stop')]);
    expect(running.code).not.toBe(0);
    await before.stop();

    const moved = await fleetgate('migrate', '--to', database, '--format', 'json');
    expect([moved.code, moved.stderr]).toEqual([0, expect.stringContaining('all is there and was compared')]);
    expect(JSON.parse(moved.stdout)).toMatchObject({ clients: 1, client_secrets: 1, signing_keys: 2 });

    const stale = await fleetgate('issuer', ...issuerArguments);
    expect([stale.code, stale.stderr]).toEqual([1, expect.stringContaining('set issuer.database')]);
    const again = await fleetgate('migrate', '--to', database);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('nothing is left to do')]);

    const after = await startFleetgate([
      'issuer',
      ...issuerArguments,
      '--set',
      `issuer.database=${database}`,
    ]);
    try {
      const url = after.ready['issuer'] as string;
      expect((await requestToken(url, 'press', secret)).status).toBe(200);
      expect(await (await fetch(`${url}/.well-known/jwks.json`)).json()).toEqual(jwks);
      const verified = await fleetgate('audit', 'verify', '--admin-url', after.ready['admin'] as string);
      expect([verified.code, verified.stdout]).toEqual([0, expect.stringContaining('whole:')]);
    } finally {
      await after.stop();
    }
  },
);

test.skipIf(isPostgresMissing)(
  'killed in the middle again and again, and started twice at once, it carries all once',
  async () => {
    const directory = join(data.path, 'killed');
    mkdirSync(directory, { recursive: true });
    const file = join(directory, 'registry.db');
    const source = await openSqliteRegistry(file);
    await Promise.all(
      Array.from({ length: CLIENTS }, (_, i) =>
        source.createClient(client(`c${i}`), event('client.create', `c${i}`)),
      ),
    );
    const checkpoint = (await source.listEvents({ after: CLIENTS - 1, limit: 1 })).at(-1);
    await source.close();
    const migrate = (from = file) => ['migrate', '--from', `sqlite:${from}`, '--to', postgres.url('killed')];

    for (const [table, rows] of [
      ['clients', 1],
      ['clients', CLIENTS / 2],
      ['client_secrets', CLIENTS / 2],
    ] as const) {
      const child = spawn(process.execPath, [...fleetgateCommand, ...migrate()], { stdio: 'ignore' });
      const gone = once(child, 'close');
      await expect.poll(() => rowsIn(table), { timeout: 30_000, interval: 5 }).toBeGreaterThanOrEqual(rows);
      child.kill('SIGKILL');
      await gone;
      const opened = openPostgresRegistry(postgres.url('killed'));
      await expect(opened).rejects.toThrow("finish 'fleetgate migrate' first");
    }
    const copy = join(directory, 'copy.db');
    copyFileSync(file, copy);
    const ends = await Promise.all([runFleetgate(migrate()), runFleetgate(migrate(copy))]);
    expect(ends.map(({ code }) => code === 0).sort()).toEqual([false, true]);

    for (const table of ['clients', 'client_secrets']) expect(await rowsIn(table)).toBe(CLIENTS);
    const registry = await openPostgresRegistry(postgres.url('killed'));
    const events = await registry.listEvents({ after: CLIENTS - 1, limit: 10 });
    await registry.close();
    expect(events.map(({ action }) => action)).toEqual(['client.create', 'database.migrate']);
    expect(events[0]?.hash).toBe(checkpoint?.hash);
  },
  180_000,
);

/** Rows there are in a table of the schema `killed`; none while there is no such table. */
async function rowsIn(table: string): Promise<number> {
  const found = await postgres.query(`SELECT to_regclass('killed.${table}') AS name`);
  if (found.rows[0].name === null) return 0;
  return (await postgres.query(`SELECT count(*)::int AS rows FROM killed.${table}`)).rows[0].rows;
}

test.skipIf(isPostgresMissing)('a server that wants a password is told of, and left', async () => {
  await postgres.query("CREATE ROLE guarded LOGIN PASSWORD 'x'");
  const hba = (await postgres.query('SHOW hba_file')).rows[0].hba_file as string;
  writeFileSync(hba, `host all guarded all scram-sha-256\n${readFileSync(hba, 'utf8')}`);
  await postgres.query('SELECT pg_reload_conf()');
  const beganMs = performance.now();
  const url = postgres.url('guarded').replace('fleetgate@', 'guarded@');
  const refused = await fleetgate('migrate', '--to', url);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('PGPASSWORD_FILE')]);
  // The server itself would hold the connection for a minute.
  expect(performance.now() - beganMs).toBeLessThan(30_000);
  const verified = await verifyAt(url);
  expect([verified.code, verified.stderr]).toEqual([1, expect.stringContaining('PGPASSWORD_FILE')]);
});

test.skipIf(isPostgresMissing)('a trail that is not there is told with its place, and not made', async () => {
  const url = postgres.url('nothing_here');
  const { code, stderr } = await verifyAt(url);
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/there is no registry in postgres:.*\(schema nothing_here\)/),
  ]);
  const made = await postgres.query("SELECT 1 FROM pg_namespace WHERE nspname = 'nothing_here'");
  expect(made.rowCount).toBe(0);
});

test.each([
  'postgres://fleetgate:hunter2@127.0.0.1:1/x',
  'postgres://fleetgate@127.0.0.1:1/x?password=hunter2',
])('a password in the arguments is refused, and not repeated: %s', async (database) => {
  const refused = await fleetgate('migrate', '--to', database);
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('PGPASSWORD_FILE')]);
  expect(refused.stderr).not.toContain('hunter2');
});

test('a database that is not there is told with its place', async () => {
  const { code, stderr } = await fleetgate('migrate', '--to', 'postgres://fleetgate@127.0.0.1:1/fleet');
  expect([code, stderr]).toEqual([
    expect.any(Number),
    expect.stringContaining(
      'postgres://127.0.0.1:1/fleet (schema fleetgate) (nothing listens there; ECONNREFUSED)',
    ),
  ]);
  expect(code).not.toBe(0);
});
