import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { formatCredentials } from '@fleetgate/shared';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  CANARY_SECRET,
  CANARY_TOKEN,
  credentialsFor,
  goodBody,
  json,
  startEndpoint,
} from './token-endpoint-double.ts';

const root = resolve(import.meta.dirname, '../..');

async function run(main: string, args: readonly string[]) {
  const child = spawn(process.execPath, ['--conditions=@fleetgate/source', join(root, main), ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<number | null>((resolveCode) => {
    child.once('close', resolveCode);
  });
  const [code, stdout, stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  return { code, stdout, stderr };
}

async function fileWith(content: string, mode = 0o600): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fleetgate-agent-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'device.json');
  await writeFile(path, content, { mode });
  return path;
}

describe.each([
  { main: 'agent/main.ts', command: ['token'] },
  { main: 'cli/main.ts', command: ['token', 'request'] },
])('$main $command', { timeout: 60_000 }, ({ main, command }) => {
  const token = (...args: string[]) => run(main, [...command, ...args]);

  test('prints the token alone, and as JSON with its expiry and scope', async () => {
    const { origin } = await startEndpoint(json(goodBody));
    const file = await fileWith(formatCredentials(credentialsFor(origin)));
    const plain = await token('--credentials', file);
    expect(plain).toEqual({ code: 0, stdout: `${CANARY_TOKEN}\n`, stderr: '' });
    const printed = JSON.parse((await token('--credentials', file, '--format', 'json')).stdout);
    expect(Object.keys(printed)).toEqual(['access_token', 'expires_at', 'scope']);
    expect(printed).toMatchObject({ access_token: CANARY_TOKEN, scope: 'a b' });
    expect(Date.parse(printed.expires_at)).toBeGreaterThan(Date.now());
  });

  test('a refusal of the issuer ends with 1 and shows no secret', async () => {
    const { origin } = await startEndpoint(json({ error: 'invalid_client' }, 401));
    const ended = await token('--credentials', await fileWith(formatCredentials(credentialsFor(origin))));
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).not.toContain('canary');
  });

  test('a credentials file of mode 0644 ends with 2', async () => {
    const file = await fileWith(formatCredentials(credentialsFor('http://127.0.0.1:1')), 0o644);
    const ended = await token('--credentials', file);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain('chmod 600');
  });

  test('bad usage, a missing file and one that is no credentials file end with 2', async () => {
    const broken = await fileWith(`{"auth": "${CANARY_SECRET}"`);
    const large = await fileWith(' '.repeat(70_000));
    const uses = [
      [],
      ['--no-such-option'],
      ['--credentials', `${broken}.none`],
      ['--credentials', broken],
      ['--credentials', large],
      ['--credentials', broken, '--format', 'xml'],
    ];
    const ended = await Promise.all(uses.map((args) => token(...args)));
    expect(ended.map(({ code }) => code)).toEqual(uses.map(() => 2));
    expect(ended.map(({ stdout }) => stdout).join('')).toBe('');
    expect(ended.map(({ stderr }) => stderr).join('')).not.toContain('canary');
  });

  test('--help ends with 0 and shows examples', async () => {
    const { code, stdout } = await token('--help');
    expect(code).toBe(0);
    expect(stdout).toContain('Examples:');
  });
});
