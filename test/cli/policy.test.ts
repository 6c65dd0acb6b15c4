import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { runFleetgate } from '../support/fleetgate-process.ts';

const folder = mkdtempSync(join(tmpdir(), 'fleetgate-policy-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const policy = file(
  'policy.yaml',
  `version: 1
scopes:
  telemetry.write:
    publish:
      - devices/{client_id}/telemetry/#
      - { topic: 'devices/{client_id}/state', max_qos: 1, max_messages_per_second: 0.2 }
  observe:
    subscribe: [ { topic: 'devices/+/telemetry/#', broader: filter } ]
deny:
  - subscribe: [ 'devices/+/telemetry/secret' ]
`,
);

/** A JWT that nobody signed: what is only decoded needs no signature. */
function tokenFile(name: string, claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return file(
    name,
    `${part({ alg: 'ES256', typ: 'at+jwt' })}.${part({ sub: 'a', client_id: 'a', ...claims })}.AA`,
  );
}

const explainArgs = (token: string, ...attempt: string[]) => [
  'policy',
  'explain',
  '--policy',
  policy,
  '--token-file',
  token,
  ...attempt,
];

describe('policy check', () => {
  test('says on stderr what has no effect, and exits 0', async () => {
    const idle = file('idle.yaml', 'version: 1\nscopes:\n  s:\n    publish:\n      - a/#\n      - a/b\n');
    const { code, stdout, stderr } = await runFleetgate(['policy', 'check', idle]);
    expect([code, stdout]).toEqual([0, `${idle}: valid\n`]);
    expect(stderr).toMatch(/idle\.yaml:6:9: warning: `a\/b` changes nothing/);
  });

  test('says nothing on stderr of a policy without such', async () => {
    expect(await runFleetgate(['policy', 'check', policy])).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('policy matrix', () => {
  test('is a table with a line for each rule', async () => {
    const { code, stdout } = await runFleetgate(['policy', 'matrix', '--policy', policy, '--client-id', 'a']);
    expect(code).toBe(0);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    expect(lines).toEqual([
      ['SCOPE', 'ACTION', 'FILTER', 'OPTIONS', 'DENIES', 'EXAMPLE', 'OUTCOME'],
      ['telemetry.write', 'publish', 'devices/a/telemetry/#', 'devices/a/telemetry/x', 'allowed'],
      [
        'telemetry.write',
        'publish',
        'devices/a/state',
        'max_qos: 1, max_messages_per_second: 0.2, burst: 1',
        'devices/a/state',
        'allowed',
      ],
      [
        'observe',
        'subscribe',
        'devices/+/telemetry/#',
        'broader: filter',
        'devices/+/telemetry/secret (part)',
        'devices/+/telemetry/#',
        'allowed',
      ],
    ]);
  });

  test('is JSON, and has no example where a value is missing', async () => {
    const { stdout } = await runFleetgate(['policy', 'matrix', '--policy', policy, '--format', 'json']);
    expect(JSON.parse(stdout)).toMatchObject([
      { scope: 'telemetry.write', publish: [{ filter: 'devices/{client_id}/telemetry/#', denies: [] }, {}] },
      { scope: 'observe', subscribe: [{ example: { outcome: 'allowed' } }] },
    ]);
    expect(stdout).not.toContain('devices/a/');
  });

  test.each([
    ['--client-id', 'a/b'],
    ['--group', '+'],
    ['--claim', 'site'],
  ])('%s %s is bad usage', async (option, value) => {
    const { code, stderr } = await runFleetgate(['policy', 'matrix', '--policy', policy, option, value]);
    expect(code).toBe(2);
    expect(stderr).toContain(option);
  });
});

describe('policy explain', () => {
  test.each([
    ['devices/b/telemetry/t', 0, 'observe at'],
    ['devices/b/telemetry/secret', 1, 'denied_by_rule'],
    ['devices/b/state', 1, 'level 3 is `state`, not `telemetry`'],
  ])('says of a delivery on %s why', async (topic, code, words) => {
    const token = tokenFile('observe.jwt', { scope: 'observe' });
    const ended = await runFleetgate(explainArgs(token, 'receive', topic));
    expect(ended.code).toBe(code);
    expect(ended.stdout).toContain(words);
  });

  test('says which scopes would allow what is refused, ten at most', async () => {
    const args = (topic: string) => [
      '--policy',
      policy,
      '--client-id',
      'a',
      '--scope',
      'observe',
      'publish',
      topic,
    ];
    const run = (topic: string, ...more: string[]) =>
      runFleetgate(['policy', 'explain', ...args(topic), ...more]);
    expect((await run('devices/a/telemetry/t')).stdout).toMatch(
      /\nscopes that would allow it: telemetry\.write\n$/,
    );
    expect((await run('devices/b/telemetry/t')).stdout).toMatch(/\nno scope of the policy allows it\n$/);
    const { stdout } = await run('devices/a/telemetry/t', '--format', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ needed: ['telemetry.write'], neededMore: 0 });
    const scopes = Array.from({ length: 12 }, (_, at) => `  s${at}: { publish: [ x ] }\n`);
    const many = file('many.yaml', `version: 1\nscopes:\n${scopes.join('')}`);
    const of = ['--policy', many, '--client-id', 'a', '--scope', ''];
    expect((await runFleetgate(['policy', 'explain', ...of, 'publish', 'x'])).stdout).toMatch(
      /allow it: s0, s1, s2, s3, s4, s5, s6, s7, s8, s9 and 2 more\n$/,
    );
  });

  test('of what is allowed it names no scopes', async () => {
    const of = ['--policy', policy, '--client-id', 'a', '--scope', 'telemetry.write', '--format', 'json'];
    const { stdout, stderr } = await runFleetgate(['policy', 'explain', ...of, 'publish', 'devices/a/state']);
    expect(JSON.parse(stdout)).not.toHaveProperty('needed');
    expect(stderr).toBe('');
  });

  test('without a scope and an issuer to ask it says that it looks at a token without scopes', async () => {
    const of = ['--policy', policy, '--data', join(folder, 'none'), '--client-id', 'a'];
    expect(await runFleetgate(['policy', 'explain', ...of, 'publish', 'devices/a/state'])).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('scopes that would allow it: telemetry.write'),
      stderr: 'no --scope given: a token without scopes\n',
    });
  });

  test('names the rate of a rule', async () => {
    const token = tokenFile('telemetry.jwt', { scope: 'telemetry.write' });
    const { code, stdout } = await runFleetgate(
      explainArgs(token, 'publish', 'devices/a/state', '--format', 'json'),
    );
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      decision: { allowed: true, rate: { scope: 'telemetry.write', perSecond: 0.2, burst: 1 } },
    });
  });

  test('names what to write in place of the syntax of other brokers, and grants nothing for it', async () => {
    const token = tokenFile('foreign.jwt', {
      scope: 'rabbitmq.write:*/*/devices.a.*',
      acl: { sub: ['devices/%c/in'] },
    });
    const { code, stdout } = await runFleetgate(explainArgs(token, 'publish', 'devices/a/x'));
    expect(code).toBe(1);
    expect(stdout).toContain('mqtt:publish:devices/a/#');
    expect(stdout).toContain('mqtt:subscribe:devices/{client_id}/in');
  });

  test('says that a scope that is a list is refused at CONNECT', async () => {
    const token = tokenFile('list.jwt', { scope: ['observe'] });
    const { stdout } = await runFleetgate(explainArgs(token, 'receive', 'devices/b/telemetry/t'));
    expect(stdout).toContain('note: the claim scope is no string');
  });

  test('reads an AIF scope only when it is told that the issuer writes them', async () => {
    const scope = Buffer.from('[["devices/a/x",["pub"]]]').toString('base64url');
    const args = explainArgs(tokenFile('aif.jwt', { scope }), 'publish', 'devices/a/x');
    const named = await runFleetgate(args);
    expect([named.code, named.stdout]).toEqual([1, expect.stringContaining('RFC 9431')]);
    expect(await runFleetgate([...args, '--scope-format', 'aif'])).toMatchObject({ code: 0 });
  });
});
