import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
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

// Debian's mosquitto_pub and mosquitto_sub: clients we had no hand in.

const policy = `
version: 1
scopes:
  reading.write: { publish: [ plant/{client_id}/reading/# ] }
  order.read: { subscribe: [ plant/{client_id}/order/# ] }
  plant.observe: { subscribe: [ plant/+/reading/# ] }
`;

/** Without them there is nothing to test; where everything is tested, they are there. */
const isMissing = spawnSync('mosquitto_pub', ['--version']).error !== undefined;
const isSkipped = isMissing && process.env['CI'] === undefined;

const data = temporaryDirectory();
let fleetgate: RunningFleetgate;
let port: string;
const tokens = new Map<string, string>();

async function register(clientId: string, scope: string, ...more: string[]): Promise<string> {
  const args = [
    'client',
    'create',
    '--data',
    data.path,
    '--id',
    clientId,
    '--scope',
    scope,
    '--format',
    'json',
  ];
  const { code, stdout, stderr } = await runFleetgate([...args, ...more]);
  expect(code, stderr).toBe(0);
  const { client_secret } = JSON.parse(stdout) as { client_secret: string };
  const response = await requestToken(fleetgate.ready['issuer'] as string, clientId, client_secret);
  const { access_token } = (await response.json()) as { access_token: string };
  tokens.set(clientId, access_token);
  return client_secret;
}

function login(clientId: string, token = tokens.get(clientId) as string): string[] {
  return ['-h', '127.0.0.1', '-p', port, '-i', clientId, '-u', clientId, '-P', token];
}

function publish(clientId: string, topic: string, message: string, token?: string) {
  return runCommand('mosquitto_pub', [...login(clientId, token), '-q', '1', '-t', topic, '-m', message]);
}

/** A subscriber that has its SUBACK; `-d` says so on stdout, which stdbuf keeps from being held back. */
async function subscribed(
  clientId: string,
  filter: string,
): Promise<{ child: ChildProcess; next(text: string): Promise<string> }> {
  const child = spawn('stdbuf', [
    '-oL',
    'mosquitto_sub',
    ...login(clientId),
    '-d',
    '-v',
    '-q',
    '1',
    '-t',
    filter,
  ]);
  const seen: string[] = [];
  const waiting = new Set<() => void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    seen.push(line);
    for (const wake of waiting) wake();
  });
  const next = async (text: string) => {
    for (;;) {
      const line = seen.find((one) => one.includes(text));
      if (line !== undefined) return line;
      await new Promise<void>((wake) => {
        waiting.add(wake);
      });
    }
  };
  await next('Subscribed');
  return { child, next };
}

describe.skipIf(isSkipped)('with mosquitto-clients (Debian: apt-get install mosquitto-clients)', () => {
  beforeAll(async () => {
    const policyFile = join(dirname(data.path), 'policy.yaml');
    writeFileSync(policyFile, policy);
    fleetgate = await startFleetgate([
      'up',
      ...freePorts(data.path),
      '--set',
      `broker.policy_file=${policyFile}`,
    ]);
    port = new URL(fleetgate.ready['mqtt'] as string).port;
    await register('press-1', 'reading.write order.read');
    await register('board', 'plant.observe');
  });

  afterAll(async () => {
    await fleetgate?.stop();
    data.remove();
  });

  test('a message inside both scopes goes from publisher to subscriber', async () => {
    const { child, next } = await subscribed('board', 'plant/+/reading/#');
    const { code, stderr } = await publish('press-1', 'plant/press-1/reading/t', '21.5');
    expect(code, stderr).toBe(0);
    expect(await next('plant/press-1/reading/t 21.5')).toBe('plant/press-1/reading/t 21.5');
    child.kill();
  });

  test('an option file of the agent lets mosquitto_pub in, its token renewed or not, and no token is an argument', async () => {
    const folder = dirname(data.path);
    const credentials = join(folder, 'press-9.json');
    const created = await runFleetgate([
      ...['client', 'create', '--data', data.path, '--id', 'press-9', '--scope', 'reading.write'],
      ...['--out', credentials],
    ]);
    expect(created.code, created.stderr).toBe(0);
    const config = join(folder, 'mosquitto');
    mkdirSync(config);
    const file = join(config, 'mosquitto_pub');
    const agent = ['--conditions=@fleetgate/source', 'agent/main.ts', 'run', '--once'];
    const sink = ['--credentials', credentials, '--sink-mosquitto', file];
    const { child, next } = await subscribed('board', 'plant/+/reading/#');
    for (const value of ['30.5', '31.5']) {
      const ran = await runCommand(process.execPath, [
        ...[...agent, ...sink],
        ...['--broker', `mqtt://127.0.0.1:${port}`],
      ]);
      expect(ran.code, ran.stderr).toBe(0);
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const args = ['-q', '1', '-t', 'plant/press-9/reading/t', '-m', value];
      // Mosquitto 2.1 has -o FILE; every version reads its configuration folder.
      const { code, stderr } = await runCommand('mosquitto_pub', args, { env: { XDG_CONFIG_HOME: config } });
      expect(code, stderr).toBe(0);
      expect(await next(`plant/press-9/reading/t ${value}`)).toBe(`plant/press-9/reading/t ${value}`);
    }
    child.kill();
  });

  test('a publish outside the scope is refused and reaches nobody', async () => {
    const { child, next } = await subscribed('board', 'plant/+/reading/#');
    const { code } = await publish('press-1', 'plant/press-2/reading/t', 'forged');
    expect(code).not.toBe(0);
    await publish('press-1', 'plant/press-1/reading/t', 'marker');
    // Order is kept, so the forged one would have come before the marker.
    await next('plant/press-1/reading/t marker');
    await expect(Promise.race([next('forged'), delay(200, 'nothing')])).resolves.toBe('nothing');
    child.kill();
  });

  test.each([
    ['#'],
    ['plant/#'],
    ['plant/press-2/order/#'],
    ['plant/+/order/#'],
    ['$SYS/#'],
    ['$share/g/plant/press-1/order/#'],
  ])('a subscribe to %s outside the scope gets 0x80', async (filter) => {
    const { stdout, stderr } = await runCommand('mosquitto_sub', [
      ...login('press-1'),
      '-d',
      '-W',
      '5',
      '-t',
      filter,
    ]);
    // 128 is 0x80 [MQTT-3.9.3-2]
    expect(stdout + stderr).toMatch(/Subscribed \(mid: 1\): 128|subscription requests were denied/);
  });

  test('a client id of another device is refused with 2', async () => {
    const args = [
      '-h',
      '127.0.0.1',
      '-p',
      port,
      '-i',
      'board',
      '-P',
      tokens.get('press-1') as string,
      '-u',
      '',
    ];
    const { code, stderr } = await runCommand('mosquitto_pub', [
      ...args,
      '-t',
      'plant/press-1/reading/t',
      '-m',
      'x',
    ]);
    expect(stderr).toContain('identifier rejected');
    expect(code).not.toBe(0);
  });

  test('a user name of another device is refused with 5', async () => {
    const args = [
      '-h',
      '127.0.0.1',
      '-p',
      port,
      '-i',
      'press-1',
      '-u',
      'board',
      '-P',
      tokens.get('press-1') as string,
    ];
    const { stderr } = await runCommand('mosquitto_pub', [
      ...args,
      '-t',
      'plant/press-1/reading/t',
      '-m',
      'x',
    ]);
    expect(stderr).toContain('not authorised');
  });

  test.each([
    ['no token at all', 'nonsense'],
    ['a token with a changed claim', 'changed'],
  ])('%s is refused with 4', async (_, kind) => {
    const [header, , signature] = (tokens.get('press-1') as string).split('.');
    const payload = (tokens.get('board') as string).split('.')[1];
    const token = kind === 'changed' ? `${header}.${payload}.${signature}` : kind;
    const { code, stderr } = await publish('press-1', 'plant/press-1/reading/t', 'x', token);
    expect(stderr).toContain('bad user name or password');
    expect(code).not.toBe(0);
  });

  test('an expired token is refused with 4', async () => {
    await register('brief', 'reading.write', '--token-lifetime-seconds', '1');
    const token = tokens.get('brief') as string;
    expect((await publish('brief', 'plant/brief/reading/t', 'x', token)).code).toBe(0);
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as {
      exp: number;
    };
    // The default skew is 5 s.
    await delay(exp * 1000 + 5_500 - Date.now());
    const { stderr } = await publish('brief', 'plant/brief/reading/t', 'x', token);
    expect(stderr).toContain('bad user name or password');
  });

  test('a client that was deleted gets no token any more', async () => {
    const secret = await register('gone', 'reading.write');
    expect((await runFleetgate(['client', 'delete', '--data', data.path, 'gone'])).stdout).toBe('gone\n');
    const response = await requestToken(fleetgate.ready['issuer'] as string, 'gone', secret);
    expect(response.status).toBe(401);
    const again = await runFleetgate(['client', 'delete', '--data', data.path, 'gone']);
    expect(again.code).toBe(0);
    expect(again.stderr).toContain('nothing to delete');
  });

  test('no token and no secret is in the log', () => {
    for (const token of tokens.values()) {
      expect(fleetgate.stderr()).not.toContain(token);
      expect(fleetgate.stderr()).not.toContain(token.split('.')[2]);
    }
    expect(fleetgate.stderr()).toContain('no_rule');
  });
});
