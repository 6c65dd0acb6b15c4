import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
let fleetgate: RunningFleetgate;

beforeAll(async () => {
  fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
});
afterAll(async () => {
  await fleetgate?.stop();
  data.remove();
});

const client = (...args: string[]) => runFleetgate(['client', ...args, '--data', data.path]);

describe('client create', () => {
  test('says of a scope the policy does not define which one is near, and of no scope that it allows nothing', async () => {
    const misspelled = await client('create', '--id', 'sensor-1', '--scope', 'telemetry.writ commands.read');
    expect(misspelled.code).toBe(0);
    expect(misspelled.stderr).toContain("'telemetry.writ'");
    expect(misspelled.stderr).toContain("'telemetry.write'");
    expect(misspelled.stderr).not.toContain("'commands.read'");
    expect((await client('create', '--id', 'sensor-2')).stderr).toContain('--scope');
  });

  test('says nothing of direct scopes, of scopes for another audience, or of a policy that is fine', async () => {
    const silent = [
      ['--scope', 'mqtt:publish:plant/{client_id}/#'],
      ['--scope', 'event.create', '--audience', 'event'],
      ['--scope', 'telemetry.write'],
    ];
    const ended = await Promise.all(silent.map((args) => client('create', ...args)));
    expect(ended.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
      silent.map(() => ({ code: 0, stderr: '' })),
    );
  });

  test('a wrong --id or --auth is bad usage, and a taken id names what to do', async () => {
    expect((await client('create', '--id', 'a b')).code).toBe(2);
    expect((await client('create', '--id', 'a', '--auth', 'password')).code).toBe(2);
    await client('create', '--id', 'taken', '--scope', 'telemetry.write');
    const again = await client('create', '--id', 'taken', '--scope', 'telemetry.write');
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('fleetgate client delete');
  });

  test('a credentials file without a broker is noted', async () => {
    const out = join(dirname(data.path), 'remote.json');
    const { code, stderr } = await runFleetgate([
      ...['client', 'create', '--id', 'remote', '--scope', 'telemetry.write', '--out', out],
      ...['--admin-url', fleetgate.ready['admin'] as string],
      ...['--admin-key-file', join(data.path, 'admin.key')],
    ]);
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('--broker-url');
    expect(existsSync(out)).toBe(true);
  });
});

test('where nothing runs on the data directory, and no address is named, none is asked', async () => {
  const other = temporaryDirectory();
  try {
    const missing = await runFleetgate(['client', 'list', '--data', other.path]);
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('cannot read the admin key')]);
    mkdirSync(other.path, { mode: 0o700 });
    writeFileSync(join(other.path, 'admin.key'), 'fgk_of-another', { mode: 0o600 });
    const { code, stderr } = await runFleetgate(['client', 'list', '--data', other.path]);
    expect(stderr).toBe(
      `fleetgate: no issuer runs on ${other.path}; start 'fleetgate up' on it, name another directory with --data, ` +
        'or an issuer elsewhere with --admin-url\n',
    );
    expect(code).toBe(1);
  } finally {
    other.remove();
  }
});

test('where nothing runs on the data directory, a key that is not taken is said to be of that directory', async () => {
  const other = temporaryDirectory();
  try {
    const key = join(other.path, 'admin.key');
    const config = join(other.path, 'fleetgate.yaml');
    mkdirSync(other.path, { mode: 0o700 });
    writeFileSync(key, 'fgk_of-another', { mode: 0o600 });
    writeFileSync(config, `admin: { port: ${URL.parse(fleetgate.ready['admin'] as string)?.port} }\n`);
    const list = ['client', 'list', '--data', other.path, '--config', config];
    expect((await runFleetgate(list)).stderr).toContain(`nothing runs on ${other.path}`);
    const named = await runFleetgate([...list, '--admin-key-file', key]);
    expect(named.stderr).toContain('check --admin-key-file');
  } finally {
    other.remove();
  }
});

test('show names a client that is not there', async () => {
  const { code, stderr } = await client('show', 'ghost');
  expect(code).toBe(1);
  expect(stderr).toContain("'ghost'");
});

test('the address of the public listener is told from the admin API, also by delete and revoke', async () => {
  const commands = [
    ['client', 'list'],
    ['client', 'show', 'ghost'],
    ['client', 'delete', 'ghost'],
    ['revoke', 'client', 'ghost'],
  ];
  for (const args of commands) {
    const admin = ['--data', data.path, '--admin-url', fleetgate.ready['issuer'] as string];
    const { code, stderr } = await runFleetgate([...args, ...admin]);
    expect(code).toBe(1);
    expect(stderr).toContain('is no admin API');
  }
});

test('an --admin-url that is no address is bad usage', async () => {
  expect((await client('list', '--admin-url', 'nonsense')).code).toBe(2);
});

test('a token request that fails names the client, the issuer and the file', async () => {
  const out = join(dirname(data.path), 'device.json');
  await client('create', '--id', 'deleted', '--scope', 'telemetry.write', '--out', out);
  await client('delete', 'deleted');
  const { code, stderr } = await runFleetgate(['token', 'request', '--credentials', out]);
  expect(code).toBe(1);
  for (const part of ["'deleted'", fleetgate.ready['issuer'] as string, out]) expect(stderr).toContain(part);

  const nowhere = join(dirname(data.path), 'nowhere.json');
  const text = readFileSync(out, 'utf8').replaceAll(
    fleetgate.ready['issuer'] as string,
    'http://127.0.0.1:1',
  );
  writeFileSync(nowhere, text);
  chmodSync(nowhere, 0o600);
  const away = await runFleetgate(['token', 'request', '--credentials', nowhere]);
  expect(away.code).toBe(1);
  expect(away.stderr).toContain(nowhere);
});

test('an error of usage names the help of the command itself and the option that was meant', async () => {
  const { code, stderr } = await runFleetgate(['token', 'request', '--credentals', 'device.json']);
  expect(code).toBe(2);
  expect(stderr).toContain('--credentials');
  expect(stderr).toContain("'fleetgate token request --help'");
});
