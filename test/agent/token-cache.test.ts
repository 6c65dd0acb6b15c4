import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Credentials, FleetgateError } from '@fleetgate/shared';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createAgent, createTokenSource, openTokenCache, type TokenCache } from '../../agent/index.ts';
import { deviceCredentials, startBroker, startIssuer } from '../support/agent-fixture.ts';
import { runCommand } from '../support/fleetgate-process.ts';

const LIFETIME_SECONDS = 900;
const HOUR_MS = 3_600_000;
const credentials: Credentials = {
  version: 1,
  client_id: 'd1',
  issuer: 'https://issuer.example',
  auth: { method: 'client_secret_basic', client_secret: 's' },
  scope: 'a',
};
const outage = new FleetgateError('token_request_failed', 'the issuer is away');

function temporaryFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-cache-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'token.json');
}

/** A machine with a cache file: it is restarted as a process, or as a whole, and its clock may be set. */
function machine(file = temporaryFile()) {
  const state = {
    wallMs: 1_800_000_000_000,
    uptimeMs: 50_000,
    boot: 'first' as string | undefined,
    asked: 0,
    away: false,
  };
  const problems: string[] = [];
  const acts: Promise<void>[] = [];
  const start = (of: Credentials = credentials) => {
    const opened = openTokenCache(file, of, {
      onProblem: (problem) => problems.push(problem),
      clock: {
        wallMs: () => state.wallMs,
        boot: () => (state.boot === undefined ? undefined : { id: state.boot, uptimeMs: state.uptimeMs }),
      },
    });
    const noted = (act: Promise<void>) => {
      acts.push(act);
      return act;
    };
    const cache: TokenCache = {
      read: opened.read,
      write: (token) => noted(opened.write(token)),
      forget: () => noted(opened.forget()),
    };
    const startedAtMs = state.uptimeMs;
    return createTokenSource(of, {
      cache,
      transport: async () => {
        state.asked += 1;
        if (state.away) throw outage;
        return { access_token: `token-${state.asked}`, token_type: 'Bearer', expires_in: LIFETIME_SECONDS };
      },
      now: () => state.uptimeMs - startedAtMs,
      random: () => 0,
    });
  };
  const written = () => Promise.all(acts);
  onTestFinished(async () => void (await written()));
  const pass = (ms: number) => {
    state.wallMs += ms;
    state.uptimeMs += ms;
  };
  return { file, state, problems, start, written, pass };
}

test('a restart goes on with the token there is, in a file of its owner alone', async () => {
  const { file, state, problems, start, written, pass } = machine();
  const first = await start().get();
  await written();
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(file, '..'))).toEqual(['token.json']);
  state.away = true;
  pass(100_000);
  const second = await start().get();
  expect(second.value).toBe(first.value);
  expect(second.expiresInSeconds(0)).toBe(LIFETIME_SECONDS - 100);
  expect(state.asked).toBe(1);
  expect(problems).toEqual([]);
});

test('one past its refresh point is used while the next is fetched, and that is kept', async () => {
  const { state, start, written, pass } = machine();
  await start().get();
  await written();
  pass(850_000);
  const source = start();
  expect((await source.get()).value).toBe('token-1');
  expect((await source.renew()).value).toBe('token-2');
  await written();
  expect((await start().get()).value).toBe('token-2');
  expect(state.asked).toBe(2);
});

describe('how old a token is', () => {
  test.each<[string, { boot?: string | undefined; wallMs?: number; uptimeMs?: number }, boolean]>([
    ['a clock set ahead by an hour', { wallMs: HOUR_MS }, true],
    ['a clock set back by an hour', { wallMs: -HOUR_MS }, true],
    ['its lifetime over', { wallMs: 900_000, uptimeMs: 900_000 }, false],
    ['its lifetime over, and the clock set back to when it was new', { uptimeMs: 900_000 }, false],
    ['a restart of the machine', { boot: 'second', uptimeMs: -40_000, wallMs: 60_000 }, true],
    [
      'a restart that took longer than its lifetime',
      { boot: 'second', uptimeMs: -40_000, wallMs: 900_000 },
      false,
    ],
    [
      'a restart, and a clock set ahead by an hour',
      { boot: 'second', uptimeMs: -40_000, wallMs: HOUR_MS },
      false,
    ],
    [
      'a restart, and a clock set back by an hour',
      { boot: 'second', uptimeMs: -40_000, wallMs: -HOUR_MS },
      false,
    ],
    ['a machine that cannot tell its restarts', { boot: undefined, wallMs: 60_000 }, true],
  ])('%s', async (_what, changes, isUsed) => {
    const { state, start, written } = machine();
    await start().get();
    await written();
    if ('boot' in changes) state.boot = changes.boot;
    state.wallMs += changes.wallMs ?? 0;
    state.uptimeMs += changes.uptimeMs ?? 0;
    expect((await start().get()).value).toBe(isUsed ? 'token-1' : 'token-2');
  });
});

test.each<[string, Partial<Credentials>]>([
  ['client', { client_id: 'd2' }],
  ['issuer', { issuer: 'https://other.example' }],
  ['scope', { scope: 'b' }],
  ['audience', { audience: 'x' }],
  ['token endpoint', { token_endpoint: 'https://issuer.example/t' }],
  ['authentication', { auth: { method: 'tls_client_auth', cert_file: 'c', key_file: 'k' } }],
])('a token of another %s is not used, and makes room', async (_what, changes) => {
  const { state, problems, start, written } = machine();
  await start().get();
  await written();
  const other = { ...credentials, ...changes };
  if (other.auth.method === 'client_secret_basic') {
    expect((await start(other).get()).value).toBe('token-2');
    await written();
    expect((await start(other).get()).value).toBe('token-2');
  } else {
    expect(await openTokenCache('/nonexistent', other).read()).toBeUndefined();
  }
  expect(problems).toEqual([]);
  expect(state.asked).toBeLessThanOrEqual(2);
});

test('a secret that was rotated changes nothing: the token is the same client\u2019s', async () => {
  const { start, written } = machine();
  await start().get();
  await written();
  const rotated = { ...credentials, auth: { method: 'client_secret_basic', client_secret: 'new' } as const };
  expect((await start(rotated).get()).value).toBe('token-1');
});

test('a file that was cut off at any byte, or holds anything else, is as good as none', async () => {
  const { file, problems, start, written } = machine();
  await start().get();
  await written();
  const whole = readFileSync(file);
  for (let length = 0; length < whole.length - 1; length += 1) {
    writeFileSync(file, whole.subarray(0, length));
    expect(await openTokenCache(file, credentials).read()).toBeUndefined();
  }
  for (const text of ['null', '[]', '{}', '{"version":1}', whole.toString().replace('900', '"900"')]) {
    writeFileSync(file, text);
    expect((await start().get()).value).toMatch(/^token-/);
    expect(problems.at(-1)).toContain(file);
    await written();
  }
  expect(problems.join()).not.toContain('token-1');
});

test('a file that others may read is not used, said, and replaced by one that they may not', async () => {
  const { file, problems, start, written } = machine();
  await start().get();
  await written();
  chmodSync(file, 0o644);
  expect((await start().get()).value).toBe('token-2');
  expect(problems).toEqual([expect.stringContaining('chmod 600')]);
  await written();
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('a place that cannot be written costs a note, and no token', async () => {
  const { problems, start, written } = machine('/nonexistent/token.json');
  expect((await start().get()).value).toBe('token-1');
  await written();
  expect(problems).toEqual([expect.stringContaining('ENOENT')]);
});

test('a token that was refused is not there after a restart; a newer one is', async () => {
  const { file, start, written } = machine();
  const source = start();
  const token = await source.get();
  await written();
  source.invalidate(token);
  await written();
  expect(existsSync(file)).toBe(false);
  await source.get();
  await written();
  source.invalidate(token);
  expect((await start().get()).value).toBe('token-2');
});

test('kill -9 while it is written leaves the old token or the new, whole', async () => {
  const file = temporaryFile();
  const writer = `
    import { openTokenCache } from ${JSON.stringify(join(import.meta.dirname, '../../agent/index.ts'))};
    const cache = openTokenCache(${JSON.stringify(file)}, ${JSON.stringify(credentials)});
    for (let n = 0; ; n += 1) {
      await cache.write({ value: 'x'.repeat(4000) + n, scope: undefined, lifetimeSeconds: 900, ageMs: 0 });
      if (n === 0) process.stdout.write('started');
    }`;
  for (let round = 0; round < 10; round += 1) {
    const args = ['--conditions=@fleetgate/source', '--input-type=module', '--eval', writer];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    await sleep(Math.random() * 20);
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    expect((await openTokenCache(file, credentials).read())?.value).toMatch(/^x{4000}\d+$/);
  }
});

test('an agent that restarts while the issuer is away connects at once', async () => {
  const issuer = await startIssuer();
  const broker = await startBroker();
  const device = deviceCredentials(issuer.origin, broker.url);
  const file = temporaryFile();
  const run = async () => {
    await using agent = createAgent(device, { tokenCache: openTokenCache(file, device) });
    await agent.publish('a', 'x', { qos: 1 });
  };
  await run();
  await expect.poll(() => existsSync(file), { timeout: 10_000 }).toBe(true);
  issuer.answer = () => ({ status: 503, body: { error: 'temporarily_unavailable' } });
  await run();
  expect(broker.tokens).toEqual(['canary-token-1', 'canary-token-1']);
  expect(issuer.requests()).toBe(1);
});

test('a token that the broker refuses is replaced, in the file too', async () => {
  const issuer = await startIssuer();
  const broker = await startBroker(({ token }) => (token === 'canary-token-1' ? 4 : 0));
  const device = deviceCredentials(issuer.origin, broker.url);
  const file = temporaryFile();
  await using agent = createAgent(device, { tokenCache: openTokenCache(file, device), random: () => 0 });
  await agent.publish('a', 'x', { qos: 1 });
  await expect
    .poll(() => existsSync(file) && readFileSync(file, 'utf8').includes('canary-token-2'))
    .toBe(true);
});

test('the command keeps it where --token-cache says', async () => {
  const issuer = await startIssuer();
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-agent-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const device = join(folder, 'device.json');
  writeFileSync(device, JSON.stringify(deviceCredentials(issuer.origin, 'mqtt://127.0.0.1:1')), {
    mode: 0o600,
  });
  const main = join(import.meta.dirname, '../../agent/main.ts');
  const args = ['--conditions=@fleetgate/source', main, 'token', '--credentials', device];
  const ask = () => runCommand(process.execPath, [...args, '--token-cache', join(folder, 'token.json')]);
  const [first, second] = [await ask(), await ask()];
  expect([first.code, first.stdout.trim()], first.stderr).toEqual([0, 'canary-token-1']);
  expect([second.code, second.stdout.trim()], second.stderr).toEqual([0, 'canary-token-1']);
  expect(issuer.requests()).toBe(1);
});
