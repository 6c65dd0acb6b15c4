import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  requestToken,
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

const run = (...args: string[]) => runFleetgate([...args, '--data', data.path]);

test('an app is made, listed, filled, emptied and deleted', { timeout: 60_000 }, async () => {
  const issuer = `${fleetgate.ready['issuer']}/appid-plant-1`;
  const created = await run('app', 'create', 'plant-1', '--format', 'json');
  expect(JSON.parse(created.stdout)).toEqual({
    app_id: 'plant-1',
    issuer,
    admin_key: readFileSync(join(data.path, 'apps', 'plant-1', 'admin.key'), 'utf8').trim(),
  });
  expect((await run('app', 'list', '-q')).stdout).toBe('plant-1\n');

  const made = await run('client', 'create', '--app', 'plant-1', '--id', 'sensor-1', '--format', 'json');
  const { client_secret } = JSON.parse(made.stdout) as { client_secret: string };
  const answer = await requestToken(issuer, 'sensor-1', client_secret);
  const { access_token } = (await answer.json()) as { access_token: string };
  expect(decodeJwt(access_token).iss).toBe(issuer);
  expect((await run('client', 'list', '-q')).stdout).toBe('');
  expect((await run('revoke', 'client', 'sensor-1', '--app', 'plant-1')).code).toBe(0);
  expect((await run('revoke', 'list', '--format', 'json')).stdout).toBe('[]\n');

  const refused = await run('app', 'delete', 'plant-1');
  expect([refused.code, refused.stdout]).toEqual([1, '']);
  await run('client', 'delete', 'sensor-1', '--app', 'plant-1');
  expect(await run('app', 'delete', 'plant-1')).toEqual({ code: 0, stdout: 'plant-1\n', stderr: '' });
  // Nothing to do is no failure.
  expect((await run('app', 'delete', 'plant-1')).code).toBe(0);
});

test('an app that is not there is said to be looked for in the list of them', async () => {
  const { code, stderr } = await run('client', 'list', '--app', 'nowhere');
  expect(code).toBe(1);
  expect(stderr).toContain('fleetgate app list');
  expect(
    (await run('client', 'list', '--app', 'nowhere', '--admin-key-file', '/nowhere')).stderr,
  ).not.toContain('app list');
});

test('with --out the admin key is in a file of its owner and nowhere else', async () => {
  const out = join(dirname(data.path), 'plant-2.key');
  const created = await run('app', 'create', 'plant-2', '--out', out);
  const key = readFileSync(out, 'utf8').trim();
  expect(statSync(out).mode & 0o777).toBe(0o600);
  expect(created.stdout + created.stderr).not.toContain(key);
  const listed = await runFleetgate([
    ...['client', 'list', '--app', 'plant-2', '--admin-key-file', out],
    ...['--admin-url', fleetgate.ready['admin'] as string, '--format', 'json'],
  ]);
  expect(listed).toMatchObject({ code: 0, stdout: '[]\n' });
  // The file of one is never overwritten, and no app is made whose key could not be kept.
  expect((await run('app', 'create', 'plant-3', '--out', out)).code).toBe(2);
  expect((await run('app', 'list', '-q')).stdout).not.toContain('plant-3');
});

test('a key file of an app that was not made is not left behind', async () => {
  const out = join(dirname(data.path), 'twice.key');
  await run('app', 'create', 'twice');
  expect((await run('app', 'create', 'twice', '--out', out)).code).toBe(1);
  expect(existsSync(out)).toBe(false);
});

test('--app with what is no app id is bad usage, and one that does not exist is told', async () => {
  expect((await run('client', 'list', '--app', '../..')).code).toBe(2);
  const unknown = await run(
    ...['client', 'list', '--app', 'nowhere', '--admin-key-file', join(data.path, 'admin.key')],
  );
  expect(unknown.code).toBe(1);
  expect(unknown.stderr).toContain('fleetgate app list');
});
