import { chmodSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { formatCredentials } from '@fleetgate/shared';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  requestToken,
  runCommand,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
const folder = dirname(data.path);
let fleetgate: RunningFleetgate;

beforeAll(async () => {
  fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
});
afterAll(async () => {
  await fleetgate?.stop();
  data.remove();
});

const client = (...args: string[]) => runFleetgate(['client', ...args, '--data', data.path]);
const status = async (clientId: string, secret: string) =>
  (await requestToken(fleetgate.ready['issuer'] as string, clientId, secret)).status;

/** By the API: a command is a second of this test. */
async function api(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(`${fleetgate.ready['admin']}/v1${path}`, {
    method,
    headers: {
      'api-key': readFileSync(join(data.path, 'admin.key'), 'utf8').trim(),
      'content-type': 'application/json',
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return (await response.json()) as Record<string, unknown>;
}
async function created(id: string): Promise<string> {
  const client = await api('POST', '/clients', { client_id: id, scope: 'telemetry.write' });
  return client['client_secret'] as string;
}
/** Registers a client and writes its credentials file. */
async function createdFile(id: string): Promise<string> {
  const file = join(folder, `${id}.json`);
  const credentials = {
    version: 1,
    client_id: id,
    issuer: fleetgate.ready['issuer'] as string,
    auth: { method: 'client_secret_basic', client_secret: await created(id) },
    scope: 'telemetry.write',
    broker: { url: 'mqtt://127.0.0.1:1' },
  } as const;
  writeFileSync(file, formatCredentials(credentials), { mode: 0o600 });
  return file;
}
const json = async (...args: string[]) => {
  const { stdout, stderr, code } = await client(...args, '--format', 'json');
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout);
};
const secretIn = (file: string) =>
  (JSON.parse(readFileSync(file, 'utf8')) as { auth: { client_secret: string } }).auth.client_secret;
const leftovers = () => readdirSync(folder).filter((name) => name.startsWith('.'));

describe('client rotate-secret', () => {
  test('prints the new secret, and says on stderr for how long the old one goes on', async () => {
    const old = await created('printed');
    const { stdout, stderr, code } = await client('rotate-secret', 'printed', '--overlap', '1h');
    expect(code).toBe(0);
    const [, fresh = ''] = /^client_secret +(\S+)$/m.exec(stdout) ?? [];
    expect(await Promise.all([status('printed', old), status('printed', fresh)])).toEqual([200, 200]);
    const end = Date.parse(/until (\S+)$/m.exec(stderr)?.[1] ?? '');
    expect(Math.abs(end - Date.now() - 3_600_000)).toBeLessThan(60_000);
  });

  test('rewrites a credentials file as a whole, with all else that is in it, and only for its owner', async () => {
    const file = await createdFile('device');
    chmodSync(file, 0o640);
    const before = JSON.parse(readFileSync(file, 'utf8'));
    const { stdout, code, stderr } = await client('rotate-secret', 'device', '--overlap', '0', '--out', file);
    expect(code, stderr).toBe(0);
    const after = JSON.parse(readFileSync(file, 'utf8'));
    expect(after).toEqual({ ...before, auth: { ...before.auth, client_secret: expect.any(String) } });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(leftovers()).toEqual([]);
    expect(stdout).not.toContain(secretIn(file));
    expect(await status('device', before.auth.client_secret)).toBe(401);
    expect((await runFleetgate(['token', 'request', '--credentials', file])).code).toBe(0);
  });

  test('writes through a link, and makes a file where there is none', async () => {
    await created('linked');
    const [file, link] = [join(folder, 'linked.json'), join(folder, 'link.json')];
    expect((await client('rotate-secret', 'linked', '--overlap', '0', '--out', file)).code).toBe(0);
    expect((await runFleetgate(['token', 'request', '--credentials', file])).code).toBe(0);
    symlinkSync(file, link);
    const before = secretIn(file);
    expect((await client('rotate-secret', 'linked', '--overlap', '0', '--out', link)).code).toBe(0);
    expect(secretIn(file)).not.toBe(before);
    expect((await runFleetgate(['token', 'request', '--credentials', link])).code).toBe(0);
  });

  test('makes no secret that could not be kept', async () => {
    const old = await created('kept');
    const other = await createdFile('other');
    const before = readFileSync(other, 'utf8');
    const outs = [join(folder, 'missing', 'kept.json'), folder, other];
    const ended = await Promise.all(
      outs.map((out) => client('rotate-secret', 'kept', '--overlap', '0', '--out', out)),
    );
    expect(ended.map(({ code }) => code)).toEqual([2, 2, 2]);
    for (const { stderr } of ended) expect(stderr).toContain('--out');
    expect(readFileSync(other, 'utf8')).toBe(before);
    expect(await status('kept', old)).toBe(200);
    expect((await api('GET', '/clients/kept/secrets'))['secrets']).toHaveLength(1);
  });

  test('leaves the file as it was when it cannot be written after all, and says how to go on', async () => {
    const file = await createdFile('full');
    const before = readFileSync(file, 'utf8');
    // No file of this process may hold a byte, as on a full disk.
    const main = resolve(import.meta.dirname, '../../cli/main.ts');
    const command = [
      process.execPath,
      '--conditions=@fleetgate/source',
      main,
      'client',
      'rotate-secret',
      'full',
    ];
    const script = `trap '' XFSZ; ulimit -f 0; exec "$@"`;
    const { code, stderr, stdout } = await runCommand('bash', [
      ...['-c', script, 'bash', ...command],
      ...['--data', data.path, '--out', file],
    ]);
    expect(code, stderr).toBe(1);
    expect(stdout).toBe('');
    expect(readFileSync(file, 'utf8')).toBe(before);
    expect(leftovers()).toEqual([]);
    expect(await status('full', secretIn(file))).toBe(200);
    const [, lost = ''] = /fleetgate client end-secret full ([0-9a-f]{16})/.exec(stderr) ?? [];
    expect((await client('end-secret', 'full', lost)).code).toBe(0);
    expect((await client('rotate-secret', 'full', '--out', file)).code).toBe(0);
  });

  test('to a third secret fails and names the one to end', async () => {
    await created('third');
    const { secret_id } = await api('POST', '/clients/third/secrets', {});
    const { code, stderr } = await client('rotate-secret', 'third');
    expect(code).toBe(1);
    expect(stderr).toContain(String(secret_id));
    expect(stderr).not.toContain('is no admin API');
  });

  test('in an emergency ends the old secret and revokes the tokens', async () => {
    const old = await created('seen');
    await json('rotate-secret', 'seen', '--overlap', '0', '--revoke-tokens');
    expect(await status('seen', old)).toBe(401);
    const { revocations } = await api('GET', '/revocations');
    expect(revocations).toMatchObject([{ kind: 'client', client_id: 'seen' }]);
  });

  test('with what makes no sense is bad usage', async () => {
    const wrong = [
      ['--overlap', 'soon'],
      ['--expires-in', '1y'],
      ['--revoke-tokens', '--overlap', '1h'],
      ['--format', 'xml'],
    ];
    const ended = await Promise.all(wrong.map((args) => client('rotate-secret', 'nobody', ...args)));
    expect(ended.map(({ code }) => code)).toEqual([2, 2, 2, 2]);
  });
});

describe('client secrets', () => {
  test('shows those of one machine, never the secret', async () => {
    const secret = await created('shown');
    await status('shown', secret);
    const rotated = await json('rotate-secret', 'shown', '--until-new-is-used', '--expires-in', '90d');
    const secrets = await json('secrets', 'shown');
    expect(secrets).toMatchObject([
      { state: 'live', first_used_at: expect.any(String), until_new_is_used: true },
      { secret_id: rotated.secret_id, state: 'live', expires_at: expect.any(String) },
    ]);
    expect(JSON.stringify(secrets)).not.toContain(rotated.client_secret);
    const table = (await client('secrets', 'shown')).stdout;
    expect(table).toMatch(/^SECRET ID +STATE +CREATED AT +EXPIRES AT +FIRST USED AT +LAST USED ON$/m);
  });

  test('lists those of all machines that were never used, or that end soon, also as CSV', async () => {
    const used = await created('used');
    await status('used', used);
    await created('unused');
    const { stdout } = await client('secrets', '--never-used', '--format', 'csv');
    const [head, ...lines] = stdout.split('\r\n');
    expect(head).toBe('client_id,secret_id,state,created_at,expires_at,first_used_at,last_used_on');
    const ids = lines.map((line) => line.split(',')[0]);
    expect(ids).toContain('unused');
    expect(ids).not.toContain('used');
    await api('POST', '/clients/unused/secrets', { overlap_seconds: 7200 });
    const ending = async (within: string) =>
      ((await json('secrets', '--expiring', within)) as { client_id: string }[]).map(
        ({ client_id }) => client_id,
      );
    const [soon, now] = await Promise.all([ending('3h'), ending('1m')]);
    expect(soon).toContain('unused');
    expect(now).not.toContain('unused');
  });

  test('of nobody, of nothing, or of one machine and all is refused', async () => {
    const wrong = [['nobody'], [], ['used', '--never-used'], ['--never-used', '--expiring', '1d']];
    const ended = await Promise.all(wrong.map((args) => client('secrets', ...args)));
    expect(ended.map(({ code }) => code)).toEqual([1, 2, 2, 2]);
    expect(ended[0]?.stderr).toContain('fleetgate client list');
  });
});

test('client end-secret ends one, is done when it had ended, and fails for one that is not there', async () => {
  const secret = await created('ended');
  const [{ secret_id }] = await json('secrets', 'ended');
  expect((await client('end-secret', 'ended', secret_id)).code).toBe(0);
  expect(await status('ended', secret)).toBe(401);
  expect((await client('end-secret', 'ended', secret_id)).code).toBe(0);
  const { code, stderr } = await client('end-secret', 'ended', '0123456789abcdef');
  expect(code).toBe(1);
  expect(stderr).not.toContain('is no admin API');
});
