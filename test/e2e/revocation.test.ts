import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Revocation } from '@fleetgate/shared';
import Sqlite from 'better-sqlite3';
import { connectAsync } from 'mqtt';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import {
  type Ended,
  freePorts,
  type RunningFleetgate,
  requestToken,
  runCommand,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';
import { openFeed } from '../support/revocation-reader.ts';

const root = resolve(import.meta.dirname, '../..');

describe('fleetgate revoke', () => {
  const data = temporaryDirectory();
  const home = dirname(data.path);
  let fleetgate: RunningFleetgate;
  const secrets = new Map<string, string>();
  const run = (args: string[], input?: string) => runFleetgate([...args, '--data', data.path], input);
  const revoke = (...args: string[]) => run(['revoke', ...args]);
  const parsed = ({ code, stdout, stderr }: Ended) => {
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout);
  };
  const listed = async () =>
    parsed(await revoke('list', '--format', 'json')) as (Revocation & { jti?: string })[];

  beforeAll(async () => {
    fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
    for (const id of ['sensor-1', 'sensor-2', 'feed-reader']) {
      const scope = id === 'feed-reader' ? 'fleetgate.revocations' : 'telemetry.write';
      const made = await run(['client', 'create', '--id', id, '--scope', scope, '--format', 'json']);
      secrets.set(id, parsed(made).client_secret);
    }
  });
  afterAll(async () => {
    await fleetgate?.stop();
    data.remove();
  });

  async function tokenOf(clientId: string): Promise<string> {
    const issuer = fleetgate.ready['issuer'] as string;
    const response = await requestToken(issuer, clientId, secrets.get(clientId) as string);
    return ((await response.json()) as { access_token: string }).access_token;
  }
  const claimsOf = (token: string) =>
    JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString());
  const mqtt = (clientId: string, password: string) =>
    connectAsync(
      fleetgate.ready['mqtt'] as string,
      { clientId, username: clientId, password, reconnectPeriod: 0 },
      false,
    );

  test('client closes its live session within a second, and a new token gets it back in', async () => {
    const token = await tokenOf('sensor-1');
    const other = await mqtt('sensor-2', await tokenOf('sensor-2'));
    const client = await mqtt('sensor-1', token);
    const reader = await openFeed(fleetgate.ready['issuer'] as string, await tokenOf('feed-reader'));
    onTestFinished(() => reader.close());
    await reader.untilReady();
    const closed = new Promise<number>((done) => client.once('close', () => done(performance.now())));
    const answered = await revoke('client', 'sensor-1', '--format', 'json');
    // From the answer, which came after the act.
    const answeredMs = performance.now();
    expect(parsed(answered)).toMatchObject([{ kind: 'client', client_id: 'sensor-1' }]);
    expect((await closed) - answeredMs).toBeLessThan(1000);
    expect(await reader.nextRevocation()).toMatchObject({ kind: 'client', client_id: 'sensor-1' });
    await expect(mqtt('sensor-1', token)).rejects.toMatchObject({ code: 4 });
    expect(other.connected).toBe(true);
    await other.endAsync();
    await (await mqtt('sensor-1', await tokenOf('sensor-1'))).endAsync();
  });

  test('token takes the token itself from a file or standard input, and says when nothing is to do', async () => {
    const token = await tokenOf('sensor-2');
    const { jti } = claimsOf(token);
    const file = join(home, 'seen.jwt');
    writeFileSync(file, token);
    expect(parsed(await revoke('token', '--token-file', file, '--format', 'json'))).toMatchObject({ jti });
    const again = await run(['revoke', 'token', '--token-file', '-'], token);
    expect([again.code, again.stderr]).toEqual([0, 'revoked already; nothing to do\n']);
    expect(again.stdout).toContain(jti);
    expect((await listed()).filter((one) => one.jti === jti)).toHaveLength(1);
    await expect(mqtt('sensor-2', token)).rejects.toMatchObject({ code: 4 });
    const other = await revoke('token', '--jti', 'a-jti', '--format', 'json');
    expect(parsed(other)).toMatchObject({ kind: 'token', jti: 'a-jti' });
  });

  test('of several clients of which one is unknown the others are revoked: 3, and of none: 1', async () => {
    const partly = await revoke('client', 'sensor-1', 'nobody', 'sensor-2', '--format', 'json');
    expect(partly.code).toBe(3);
    expect(JSON.parse(partly.stdout)).toMatchObject([{ client_id: 'sensor-1' }, { client_id: 'sensor-2' }]);
    expect(partly.stderr).toMatch(/^nobody: /);
    const none = await revoke('client', 'nobody');
    expect([none.code, none.stdout]).toEqual([1, '']);
  });

  test('issued-before now hits what was issued in this second, also right after another revocation', async () => {
    await revoke('client', 'sensor-1');
    const token = await tokenOf('sensor-1');
    const made = parsed(await revoke('issued-before', 'now', '--client', 'sensor-1', '--format', 'json'));
    expect(made).toMatchObject({ kind: 'issued_before', client_id: 'sensor-1' });
    expect(made.at).toBeGreaterThan(claimsOf(token).iat);
    await expect(mqtt('sensor-1', token)).rejects.toMatchObject({ code: 4 });
    expect(claimsOf(await tokenOf('sensor-1')).iat).toBeGreaterThanOrEqual(made.at);
  });

  test('prints tables for people', async () => {
    const { stdout } = await revoke('list');
    expect(stdout).toMatch(/^KIND +TARGET +AT +CREATED AT +EXPIRES AT\n/);
    const before = await revoke('issued-before', '2020-01-01T00:00:00Z');
    expect(before.stdout).toMatch(
      /^kind +issued_before\ntarget +\(all clients\)\nat +2020-01-01T00:00:00\.000Z\n/,
    );
  });

  test.each<[string, string[], number, RegExp]>([
    ['no token', ['token'], 2, /--token-file/],
    ['two tokens', ['token', '--jti', 'x', '--token-file', 'y'], 2, /either/],
    ['a file that is not there', ['token', '--token-file', '/nowhere'], 2, /cannot read/],
    ['a moment that is none', ['issued-before', 'yesterday'], 2, /now/],
    ['a moment in the future', ['issued-before', '2999-01-01T00:00:00Z'], 1, /future/],
    ['an unknown key', ['key', 'nothing'], 1, /no signing key/],
    ['an unknown client', ['issued-before', 'now', '--client', 'nobody'], 1, /no such client/],
    ['no client', ['client'], 2, /name client ids, or all of a kind with --selector/],
  ])('%s is told with what to do about it', async (_name, args, code, message) => {
    const ended = await revoke(...args);
    expect([ended.code, ended.stdout]).toEqual([code, '']);
    expect(ended.stderr).toMatch(message);
    expect(ended.stderr).not.toMatch(/\n +at /);
  });

  test('a token of another issuer is refused, since revoking it here would change nothing', async () => {
    const [header, , signature] = (await tokenOf('sensor-1')).split('.');
    const claims = Buffer.from('{"iss":"https://auth.example.com","jti":"x"}').toString('base64url');
    const ended = await run(['revoke', 'token', '--token-file', '-'], `${header}.${claims}.${signature}`);
    expect([ended.code, ended.stdout]).toEqual([2, '']);
    expect(ended.stderr).toContain('--admin-url');
  });

  test('the active key is revoked, and the next token is signed with another', async () => {
    const header = (token: string) =>
      JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString());
    const { kid } = header(await tokenOf('sensor-1'));
    const ended = await revoke('key', kid, '--format', 'json');
    expect(parsed(ended)).toMatchObject({ kind: 'key', kid });
    expect(header(await tokenOf('sensor-1')).kid).not.toBe(kid);
  });

  test('help teaches what to use when', async () => {
    const { code, stdout } = await runFleetgate(['revoke', '--help']);
    expect(code).toBe(0);
    for (const command of ['token', 'client', 'issued-before', 'key', 'list']) {
      expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
      expect((await runFleetgate(['revoke', command, '--help'])).stdout).toContain('--admin-url');
    }
  });

  const isSkipped = process.env['CI'] === undefined && !isInstalled('curl');
  test.skipIf(isSkipped)(
    'the commands of docs/revocation.md print the feed as it is shown there',
    async () => {
      const text = readFileSync(join(root, 'docs/revocation.md'), 'utf8');
      const [, block = ''] = /<!-- run by .*-->\n```sh\n([\s\S]*?)```/.exec(text) ?? [];
      expect(block).toContain('curl');
      const folder = join(home, 'docs');
      mkdirSync(folder);
      const script = `
fleetgate() { '${process.execPath}' --conditions=@fleetgate/source '${join(root, 'cli/main.ts')}' "$@"; }
cd '${folder}'
${block
  .replace('--id feed-reader', '--id docs-reader')
  .replace('http://127.0.0.1:8080', fleetgate.ready['issuer'] as string)
  .replace('curl -sN', 'curl -sN --max-time 3')}`;
      const { stdout } = await runCommand('bash', ['-c', script], {
        env: { FLEETGATE_DATA_DIR: data.path },
      });
      const [, shown = ''] = /\n( {4}retry:[\s\S]*?)\n\n\|/.exec(text) ?? [];
      const shape = (stream: string) =>
        new Set(
          stream
            .split('\n')
            .map((line) => line.trim())
            .filter((line) => line !== '' && !line.startsWith(':'))
            .map((line) =>
              line.startsWith('data: {"') ? Object.keys(JSON.parse(line.slice(6))).join() : line,
            )
            .map((line) => line.replace(/\d{16}\.\d{13}/, 'CURSOR')),
        );
      const printed = shape(stdout.slice(stdout.indexOf('retry:')));
      expect(shape(shown).size).toBeGreaterThan(3);
      for (const line of shape(shown)) expect([...printed]).toContain(line);
    },
  );
});

function isInstalled(command: string): boolean {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

test('each revocation that was answered survives kill -9 with its audit row, and none is there without', async () => {
  const data = temporaryDirectory();
  onTestFinished(() => data.remove());
  const first = await startFleetgate(['up', ...freePorts(data.path)]);
  const apiKey = readFileSync(join(data.path, 'admin.key'), 'utf8').trim();
  const answered: string[] = [];
  const requests = Array.from({ length: 50 }, async (_, i) => {
    const response = await fetch(`${first.ready['admin']}/v1/revocations`, {
      method: 'POST',
      headers: { 'api-key': apiKey, 'content-type': 'application/json' },
      body: JSON.stringify({ kind: 'token', jti: `jti-${i}` }),
    });
    const { jti } = (await response.json()) as { jti: string };
    answered.push(jti);
    if (answered.length === 15) first.process.kill('SIGKILL');
  });
  await Promise.allSettled(requests);
  await first.stop('SIGKILL');
  expect(answered.length).toBeGreaterThanOrEqual(15);

  const second = await startFleetgate(['up', ...freePorts(data.path)]);
  onTestFinished(async () => {
    await second.stop();
  });
  const database = new Sqlite(join(data.path, 'fleetgate.db'), { readonly: true });
  onTestFinished(() => void database.close());
  const column = (sql: string) => new Set(database.prepare<[], string>(sql).pluck().all());
  const revoked = column('SELECT token_id FROM revocations');
  expect(answered.filter((jti) => !revoked.has(jti))).toEqual([]);
  expect(column("SELECT token_id FROM audit WHERE action = 'token.revoke' AND result = 'ok'")).toEqual(
    revoked,
  );
  expect(database.pragma('integrity_check', { simple: true })).toBe('ok');
});
