import { afterAll, beforeAll, expect, test } from 'vitest';
import { isPostgresMissing, type Postgres, startPostgres } from '../../bench/postgres.ts';
import {
  freePorts,
  requestToken,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

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

test('a password in the arguments is refused, and not repeated', async () => {
  const refused = await fleetgate('migrate', '--to', 'postgres://fleetgate:hunter2@127.0.0.1:1/x');
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('PGPASSFILE')]);
  expect(refused.stderr).not.toContain('hunter2');
});

test('a database that is not there is told with its place', async () => {
  const { code, stderr } = await fleetgate('migrate', '--to', 'postgres://fleetgate@127.0.0.1:1/fleet');
  expect([code, stderr]).toEqual([
    expect.any(Number),
    expect.stringContaining('postgres://127.0.0.1:1/fleet (schema fleetgate) (ECONNREFUSED)'),
  ]);
  expect(code).not.toBe(0);
});
