import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startIssuer } from '@fleetgate/issuer';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type Postgres, startPostgres } from '../../bench/postgres.ts';
import { verifyChain } from '../../issuer/audit-verify.ts';
import { openPostgresRegistry } from '../../issuer/registry/postgres/registry.ts';
import type { Registry } from '../../issuer/registry/registry.ts';
import { openRevocationFeed } from '../../issuer/revocation-feed.ts';
import { issuerFixture, issuerOptions, temporaryDirectory } from '../support/issuer-fixture.ts';
import { client, event } from './registry-contract.ts';

// A server of its own: it is killed and frozen.
let postgres: Postgres;

beforeAll(async () => {
  postgres = await startPostgres({ fsync: 'on' });
}, 60_000);
afterAll(() => postgres?.stop());

async function opened(url: string): Promise<Registry> {
  const registry = await openPostgresRegistry(url);
  onTestFinished(() => registry.close());
  return registry;
}

const chainOf = async (registry: Registry) =>
  verifyChain(
    (async function* () {
      for (let after = 0; ; ) {
        const page = await registry.listEvents({ after, limit: 1000 });
        yield* page;
        const last = page.at(-1);
        if (last === undefined) return;
        after = last.sequence;
      }
    })(),
  );

test('while the database is down the answer is 503, /readyz says so, and it goes on by itself when it is back', {
  timeout: 60_000,
}, async () => {
  const fixture = await issuerFixture({ database: postgres.url() });
  const client = await fixture.register({ client_id: 'a' });
  const ready = async () => (await fetch(`${fixture.issuer.url}/readyz`)).status;
  expect([(await fixture.tokenFor(client)).status, await ready()]).toEqual([200, 200]);
  await postgres.kill();
  const refused = await fixture.tokenFor(client);
  expect([refused.status, refused.headers.get('retry-after'), await refused.json()]).toEqual([
    503,
    expect.stringMatching(/^\d+$/),
    { error: 'temporarily_unavailable', error_description: expect.any(String) },
  ]);
  expect(await ready()).toBe(503);
  expect((await fixture.call('POST', '/v1/clients', { client_id: 'b' })).status).toBe(503);
  await postgres.start();
  await expect.poll(ready, { timeout: 10_000 }).toBe(200);
  expect((await fixture.tokenFor(client)).status).toBe(200);
  expect((await fixture.call('POST', '/v1/clients', { client_id: 'b' })).status).toBe(201);
});

test('the password is that of PGPASSWORD_FILE, whatever is in it', { timeout: 60_000 }, async () => {
  const password = "p%41 'a/b:c@d";
  await postgres.query(`CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '${password.replaceAll("'", "''")}'`);
  const hba = (await postgres.query('SHOW hba_file')).rows[0].hba_file as string;
  const before = readFileSync(hba, 'utf8');
  const file = join(await temporaryDirectory(), 'password');
  onTestFinished(async () => {
    delete process.env['PGPASSWORD_FILE'];
    writeFileSync(hba, before);
    await postgres.query('SELECT pg_reload_conf()');
  });
  writeFileSync(hba, `host all guarded all scram-sha-256\n${before}`);
  await postgres.query('SELECT pg_reload_conf()');
  const url = postgres.url('guarded').replace('fleetgate@', 'guarded@');
  await expect(openPostgresRegistry(url)).rejects.toMatchObject({
    message: expect.stringContaining('PGPASSWORD_FILE'),
  });
  process.env['PGPASSWORD_FILE'] = file;
  writeFileSync(file, 'not this');
  await expect(openPostgresRegistry(url)).rejects.toMatchObject({
    message: expect.stringContaining('28P01'),
  });
  writeFileSync(file, `${password}\n`, { mode: 0o444 });
  const registry = await opened(url);
  await registry.createClient(client('a'), event('client.create', 'a'));
  expect(await registry.findClient('a')).toMatchObject({ clientId: 'a' });
});

test('a database that does not answer holds up nobody for longer than the timeout', {
  timeout: 60_000,
}, async () => {
  const registry = await opened(postgres.url());
  await registry.createClient(client('a'), event('client.create', 'a'));
  const all = [postgres.process.pid as number, ...backends()];
  for (const pid of all) process.kill(pid, 'SIGSTOP');
  try {
    const began = performance.now();
    const outcomes = await Promise.allSettled([
      registry.findClient('a'),
      registry.createClient(client('b'), event('client.create', 'b')),
      registry.listClients({ limit: 10 }),
    ]);
    expect(performance.now() - began).toBeLessThan(20_000);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'registry_unavailable' } });
    }
  } finally {
    for (const pid of all) process.kill(pid, 'SIGCONT');
  }
  await expect.poll(() => registry.isAvailable(), { timeout: 15_000 }).toBe(true);
  expect(await registry.findClient('a')).toMatchObject({ clientId: 'a' });
});

/** The processes of the server's connections. */
function backends(): number[] {
  const text = execFileSync('ps', ['-o', 'pid=', '--ppid', String(postgres.process.pid)], {
    encoding: 'utf8',
  });
  return text.split('\n').filter(Boolean).map(Number);
}

test('connections that are cut under load lose no answered act, and none is done twice', {
  timeout: 60_000,
}, async () => {
  const url = postgres.url();
  const registry = await opened(url);
  const answered: string[] = [];
  let refused = 0;
  let isOver = false;
  const workers = Array.from({ length: 20 }, async (_, worker) => {
    for (let i = 0; !isOver; i += 1) {
      const id = `c-${worker}-${i}`;
      const created = await registry
        .createClient(client(id), event('client.create', id))
        .catch(() => 'refused');
      if (created === true) answered.push(id);
      else refused += 1;
    }
  });
  for (let i = 0; i < 20; i += 1) {
    await sleep(100);
    await postgres.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fleetgate'",
    );
  }
  isOver = true;
  await Promise.all(workers);
  expect(answered.length).toBeGreaterThan(100);
  expect(refused).toBeGreaterThan(0);
  expect(await chainOf(registry)).toMatchObject({ isIntact: true });
  const targets = new Map<string, number>();
  for (let after = 0; ; ) {
    const page = await registry.listEvents({ after, limit: 1000 });
    for (const { target = '' } of page) targets.set(target, (targets.get(target) ?? 0) + 1);
    const last = page.at(-1);
    if (last === undefined) break;
    after = last.sequence;
  }
  expect(answered.filter((id) => targets.get(id) !== 1)).toEqual([]);
  for (const id of answered.slice(-20)) expect(await registry.findClient(id)).toMatchObject({ clientId: id });
});

test('an act that fails alone harms none that shares its transaction', async () => {
  const registry = await opened(postgres.url());
  const bad = client('bad', { secrets: [{ ...client('x').secrets[0], hash: new Uint8Array(3) } as never] });
  const outcomes = await Promise.allSettled([
    ...['a', 'b'].map((id) => registry.createClient(client(id), event('client.create', id))),
    registry.createClient(bad, event('client.create', 'bad')),
    ...['c', 'd'].map((id) => registry.createClient(client(id), event('client.create', id))),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual([
    'fulfilled',
    'fulfilled',
    'rejected',
    'fulfilled',
    'fulfilled',
  ]);
  expect((await registry.listClients({ limit: 9 })).map(({ clientId }) => clientId)).toEqual([
    'a',
    'b',
    'c',
    'd',
  ]);
  expect((await registry.listEvents({ limit: 9 })).map(({ target }) => target)).toEqual(['a', 'b', 'c', 'd']);
});

test('issuers that start at once on nothing make one schema', async () => {
  const url = postgres.url();
  const registries = await Promise.all(Array.from({ length: 4 }, () => opened(url)));
  for (const [i, registry] of registries.entries()) {
    await registry.createClient(client(`c${i}`), event('client.create', `c${i}`));
  }
  expect(await registries[0]?.listClients({ limit: 9 })).toHaveLength(4);
});

test('a schema of a newer version is refused, and left alone', async () => {
  const url = postgres.url('newer');
  await (await openPostgresRegistry(url)).close();
  await postgres.query('UPDATE newer.schema_version SET version = 99');
  await expect(openPostgresRegistry(url)).rejects.toMatchObject({
    code: 'registry_schema_newer',
    message: expect.stringContaining('schema version 99'),
  });
});

test('a place that is wrong is told without the password', async () => {
  const said = async (url: string) =>
    openPostgresRegistry(url).then(
      () => 'opened',
      (error: Error) => `${error.message} ${JSON.stringify(error)} ${String(error.cause)}`,
    );
  const wrong = await said(`postgres://fleetgate:hunter2@127.0.0.1:1/fleet`);
  expect(wrong).toContain(
    'postgres://127.0.0.1:1/fleet (schema fleetgate) (nothing listens there; ECONNREFUSED)',
  );
  const other = await said(`postgres://nobody:hunter2@127.0.0.1:${postgres.port}/postgres`);
  expect(other).toContain('pg_hba.conf of the server does not let this user in from here; 28000');
  const schema = await said(`postgres://x:hunter2@127.0.0.1:1/fleet?schema=A-B`);
  expect(schema).toContain("schema 'A-B' is not a name");
  expect([wrong, other, schema].join('')).not.toContain('hunter2');
});

test('apps need SQLite, and are refused at the start', async () => {
  const directory = await temporaryDirectory();
  const options = issuerOptions(directory, { database: postgres.url(), appsDirectory: `${directory}/apps` });
  await expect(startIssuer(options)).rejects.toMatchObject({ code: 'config_invalid' });
});

test('a revocation by another issuer is told long before the next look, and also when nobody listens', async () => {
  const url = postgres.url('feed');
  const [one, another] = [await opened(url), await opened(url)];
  const feed = openRevocationFeed({ registry: one, now: Date.now });
  onTestFinished(() => feed.close());
  const told = new Map<string, number>();
  feed.subscribe((revocation) => {
    if (revocation.kind === 'token') told.set(revocation.tokenId, performance.now());
  });
  const expiresAtSeconds = Math.ceil(Date.now() / 1000) + 60;
  const took = async (tokenId: string) => {
    const began = performance.now();
    await another.revoke({ kind: 'token', tokenId, expiresAtSeconds }, event('token.revoke', tokenId));
    await expect.poll(() => told.has(tokenId), { interval: 2, timeout: 5000 }).toBe(true);
    return (told.get(tokenId) as number) - began;
  };
  await took('first');
  const tookMs: number[] = [];
  for (let i = 0; i < 20; i += 1) {
    tookMs.push(await took(`t${i}`));
    await sleep(20);
  }
  // The look comes each 500 ms: by it alone half would take longer than 250.
  expect(tookMs.toSorted((a, b) => a - b)[15]).toBeLessThan(150);

  await postgres.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()",
  );
  expect(await took('unheard')).toBeLessThan(3000);
});
