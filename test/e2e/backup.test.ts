import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  freePorts,
  requestToken,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
const backup = join(dirname(data.path), 'backup.db');
afterAll(() => data.remove());

const issuer = () => startFleetgate(['issuer', ...freePorts(data.path).slice(0, -2)]);
const json = ({ stdout }: { stdout: string }) => JSON.parse(stdout) as Record<string, unknown>;
const onData = ['--data', data.path, '--format', 'json'];

test('a running issuer is backed up, restored when it is stopped, and goes on with what was there', async () => {
  const first = await issuer();
  const create = (id: string) => runFleetgate(['client', 'create', ...onData, '--id', id]);
  const { client_secret: secret } = json(await create('kept')) as { client_secret: string };
  const taken = await runFleetgate(['backup', backup, ...onData]);
  expect(taken).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('the key encryption key is not in it'),
  });
  expect(json(taken)).toMatchObject({ clients: 1, checkpoint: expect.stringMatching(/^\d+:[0-9a-f]{64}$/) });
  expect(statSync(backup).mode & 0o777).toBe(0o600);
  await create('later');

  const refused = await runFleetgate(['restore', backup, ...onData]);
  expect(refused).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('in use') });
  expect(await first.stop()).toBe(0);

  const restored = await runFleetgate(['restore', backup, ...onData]);
  expect(restored).toMatchObject({ code: 0, stderr: expect.stringContaining('later') });
  const { replaced, ...report } = json(restored);
  expect(report).toMatchObject({ known_since: 'all', clients_gone: ['later'], clients_back: [] });
  expect(existsSync(replaced as string)).toBe(true);

  const second = await issuer();
  expect((await requestToken(second.ready['issuer'] as string, 'kept', secret)).status).toBe(200);
  expect(await runFleetgate(['audit', 'verify', '--data', data.path])).toMatchObject({ code: 0 });
  const shown = await runFleetgate(['client', 'show', 'later', '--data', data.path]);
  expect(shown.code).toBe(1);
  expect(await second.stop()).toBe(0);
});

test('to a new machine: all tokens are revoked, and the missing key file is named', async () => {
  for (const name of readdirSync(data.path)) rmSync(join(data.path, name), { recursive: true });
  const restored = await runFleetgate(['restore', backup, ...onData]);
  expect(restored).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('key-encryption.key is missing'),
  });
  expect(json(restored)).toMatchObject({ known_since: 'nothing', revoked_before: expect.any(String) });
  const started = await runFleetgate(['issuer', ...freePorts(data.path).slice(0, -2)]);
  expect(started).toMatchObject({ code: 1, stderr: expect.stringContaining('key-encryption.key') });
});

test.each([
  [['backup', '/nowhere/backup.db', '--data', data.path], 1],
  [['backup', backup, '--data', '/nowhere'], 1],
  [['restore', '/nowhere/backup.db', '--data', data.path], 1],
  [['restore', backup, '--data', data.path, '--app', '../..'], 2],
  [['restore', import.meta.filename, '--data', data.path], 1],
])('%j is refused in one line', async (args, code) => {
  const ended = await runFleetgate(args);
  expect(ended).toMatchObject({ code, stdout: '' });
  expect(ended.stderr.trimEnd()).toMatch(/^fleetgate: [^\n]+$/);
});

test.each([
  ['is missing', '/nowhere/backup.db', 'there is no backup /nowhere/backup.db'],
  ['is no database', import.meta.filename, "name one that 'fleetgate backup' wrote"],
])('a backup that %s is said to be the file to change', async (_name, file, text) => {
  const { stderr } = await runFleetgate(['restore', file, '--data', data.path]);
  expect(stderr).toContain(text);
});
