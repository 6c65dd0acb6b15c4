import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Ended,
  freePorts,
  type RunningFleetgate,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
const work = temporaryDirectory();
let running: RunningFleetgate;

const inWork = (name: string) => join(work.path, name);
const policy = (...args: string[]): Promise<Ended> => runFleetgate(['policy', ...args, '--data', data.path]);

function file(name: string, content: string): string {
  writeFileSync(inWork(name), content);
  return inWork(name);
}

const OLD = `version: 1
scopes:
  telemetry.write: { publish: [ devices/{client_id}/telemetry/# ] }
  commands.read: { subscribe: [ devices/{client_id}/commands/# ] }
`;

beforeAll(async () => {
  mkdirSync(work.path, { recursive: true });
  running = await startFleetgate(['up', ...freePorts(data.path)]);
  const create = (...args: string[]) => runFleetgate(['client', 'create', ...args, '--data', data.path]);
  await create('--id', 'a', '--group', 'g', '--scope', 'telemetry.write commands.read');
  await create('--id', 'b', '--group', 'g', '--scope', 'telemetry.write', '--name', '<b>');
  await create('--id', 'c', '--scope', 'mqtt:publish:devices/a/#');
  file('policy.yaml', OLD);
});
afterAll(async () => {
  await running?.stop();
  data.remove();
  work.remove();
});

test('lint finds in the registry who can write the topics of another', async () => {
  const done = await policy('lint', '--policy', inWork('policy.yaml'), '--format', 'json');
  const findings = JSON.parse(done.stdout) as object[];
  expect(findings).toMatchObject([
    { code: 'other_device_subtree', severity: 'error', clients: ['c'] },
    { code: 'shared_writable_topic', severity: 'warning', clients: ['a', 'c'] },
  ]);
  expect(done.code).toBe(1);
  const alike = await policy(
    'lint',
    '--policy',
    file('wide.yaml', OLD.replace('{client_id}', '+')),
    '--selector',
    'group=g',
  );
  expect([alike.code, alike.stdout]).toEqual([0, expect.stringContaining('shared_writable_topic')]);
  const strict = ['lint', '--policy', inWork('wide.yaml'), '--selector', 'group=g', '--strict'];
  expect((await policy(...strict)).code).toBe(1);
});

test('lint looks at an export as at the registry, and at those selected', async () => {
  const exported = await runFleetgate(['fleet', 'export', '--data', data.path]);
  const clients = file('fleet.jsonl', exported.stdout);
  const of = (...args: string[]) => policy('lint', '--policy', inWork('policy.yaml'), ...args);
  expect((await of('--clients', clients)).stdout).toBe((await of()).stdout);
  expect(await of('--selector', 'group=g')).toMatchObject({ code: 0, stdout: '', stderr: 'nothing found\n' });
  expect((await of('--clients', file('wrong.jsonl', 'no client'))).stderr).toContain('wrong.jsonl:1');
});

test('explain without a scope takes what the client is registered for, and says so', async () => {
  const explain = (id: string, ...more: string[]) =>
    policy('explain', '--policy', inWork('policy.yaml'), '--client-id', id, ...more);
  const own = ['publish', 'devices/a/telemetry/t'];
  expect(await explain('a', ...own)).toMatchObject({
    code: 0,
    stderr: 'no --scope given: a is registered for telemetry.write commands.read\n',
  });
  expect((await explain('b', 'subscribe', 'devices/b/commands/#')).stdout).toContain(
    'scopes that would allow it: commands.read',
  );
  expect(await explain('a', '--scope', 'commands.read', ...own)).toMatchObject({ code: 1, stderr: '' });
  expect(await explain('nobody', ...own)).toMatchObject({
    code: 1,
    stderr: 'no --scope given, and no client nobody is registered: a token without scopes\n',
  });
  const admin = running.ready['admin'] as string;
  const named = await explain('a', '--admin-url', admin.replace(/\d+$/, '1'), ...own);
  expect([named.code, named.stdout]).toEqual([1, '']);
});

test('diff says who gains and loses, and by its exit code whether anybody does', async () => {
  const next = file('next.yaml', OLD.replace('commands/#', 'commands/+').replace('telemetry/#', '#'));
  const diff = (...args: string[]) => runFleetgate(['policy', 'diff', ...args]);
  const done = await diff(inWork('policy.yaml'), next, '--format', 'json');
  const report = JSON.parse(done.stdout) as { changes: Record<string, string>[]; incomplete: string[] };
  expect([done.code, report.incomplete]).toEqual([1, []]);
  expect(report.changes.map(({ subject, change, action }) => `${subject} ${change} ${action}`)).toEqual(
    expect.arrayContaining(['telemetry.write gains publish', 'commands.read loses receive']),
  );
  expect(await diff(inWork('policy.yaml'), inWork('policy.yaml'))).toMatchObject({
    code: 0,
    stdout: '',
  });
  expect((await diff(inWork('policy.yaml'), '/nowhere')).code).toBe(2);
  expect((await diff(inWork('policy.yaml'), next, '--clients', next)).code).toBe(2);
  const byGroup = await policy('diff', inWork('policy.yaml'), next, '--by', 'group', '--format', 'csv');
  expect(byGroup.stdout).toMatch(
    /^"group g, telemetry\.write",1,gains,publish,devices\/\{client_id\}\/#,devices\/\{client_id\}\/telemetry\/#,,devices\/\{client_id\}/m,
  );
});

test('a difference that cannot be looked at whole is not taken for none', async () => {
  const scopes = Array.from({ length: 11 }, (_, i) => `l${i}`);
  const denies = scopes.map((scope, i) => `  - { publish: [ 'a/${i}', 'a/#' ], unless: [ ${scope} ] }\n`);
  const wide = file(
    'wide-denies.yaml',
    `version: 1\nscopes: { s: { publish: [ 'a/#' ] } }\ndeny:\n${denies.join('')}`,
  );
  const done = await runFleetgate(['policy', 'diff', wide, wide]);
  expect([done.code, done.stderr]).toEqual([2, expect.stringContaining('not looked at whole: s')]);
});

const TESTS = `- { client: a, scopes: [ telemetry.write ], action: publish, topic: devices/a/telemetry/t, expect: allow }
- { scopes: [ telemetry.write ], action: publish, topic: 'devices/{client_id}/telemetry/t', expect: allow }
- { client: b, action: publish, topic: devices/a/telemetry/t, expect: deny, reason: no_rule }
- { group: g, action: publish, topic: 'devices/{client_id}/telemetry/t', expect: allow }
- { name: wrong, group: g, action: receive, topic: 'devices/{client_id}/commands/x', expect: allow }
- { client: nobody, action: publish, topic: x, expect: deny }
`;

test('test tells what is not as expected, with what decided, what is held and what is needed', async () => {
  const tests = file('tests.yaml', TESTS);
  const done = await policy('test', tests, '--policy', inWork('policy.yaml'));
  expect(done.code).toBe(1);
  for (const line of [
    'tests.yaml:5:3: wrong: expected allow, and it is not so for 1 of 2',
    '  b: no_rule',
    '    held: telemetry.write',
    '    needed: commands.read',
    'tests.yaml:6:3: nobody publish x: no registered client is so',
    '4 passed, 2 failed',
  ]) {
    expect(done.stdout).toContain(`${line}\n`);
  }
  const json = await policy('test', tests, '--policy', inWork('policy.yaml'), '--format', 'json');
  expect(JSON.parse(json.stdout)).toMatchObject({
    passed: 4,
    failed: 2,
    tests: [
      { passed: true, clients: 1 },
      {},
      {},
      { clients: 2 },
      { failures: [{ client: 'b' }] },
      { clients: 0 },
    ],
  });
});

test('test asks no registry where each expectation says its scopes, and finds named clients one by one', async () => {
  const [first = '', , third = ''] = TESTS.split('\n');
  const alone = ['policy', 'test', file('alone.yaml', first), '--policy', inWork('policy.yaml')];
  expect(await runFleetgate([...alone, '--data', inWork('nowhere')])).toMatchObject({ code: 0 });
  expect(await policy('test', file('named.yaml', third), '--policy', inWork('policy.yaml'))).toMatchObject({
    code: 0,
    stdout: '1 passed, 0 failed\n',
  });
});

test.each([
  [
    'a misspelled key',
    '{ client: a, topc: x, action: publish, expect: allow }',
    /:1:\d+: unknown key 'topc'; did you mean 'topic'/,
  ],
  ['no topic', '{ client: a, action: publish, expect: allow }', /'topic' is missing/],
  ['nobody it is about', '{ action: publish, topic: x, expect: allow }', /'scopes' is missing/],
  [
    'an expectation that is none',
    '{ client: a, action: publish, topic: x, expect: alow }',
    /did you mean 'allow'/,
  ],
  [
    'a reason that is none',
    '{ client: a, action: publish, topic: x, expect: deny, reason: no_rul }',
    /did you mean 'no_rule'/,
  ],
  [
    'a reason to allow',
    '{ client: a, action: publish, topic: x, expect: allow, reason: no_rule }',
    /belongs to expect: deny/,
  ],
  [
    'labels of a token',
    '{ scopes: [ s ], labels: { hw: a }, action: publish, topic: x, expect: allow }',
    /'labels'/,
  ],
  [
    'retain of a subscribe',
    '{ client: a, action: subscribe, topic: x, retain: true, expect: deny }',
    /'retain' belongs to publish/,
  ],
])('a file of tests with %s is refused by line', async (_what, one, message) => {
  const broken = file('broken.yaml', `- ${one}\n`);
  const done = await policy('test', broken, '--policy', inWork('policy.yaml'));
  expect([done.code, done.stderr]).toEqual([2, expect.stringMatching(message)]);
});

test('matrix says who can publish and receive where, by client and by group', async () => {
  const topic = 'devices/a/telemetry/t';
  const of = (...args: string[]) =>
    policy('matrix', '--policy', inWork('policy.yaml'), '--topic', topic, '--format', 'csv', ...args);
  expect((await of('--by', 'client')).stdout.split('\r\n')).toEqual([
    `name,clients,${topic}`,
    'a,1,P',
    'b,1,',
    'c,1,P',
    '',
  ]);
  expect((await of('--by', 'group')).stdout.split('\r\n')).toEqual([
    `name,clients,${topic}`,
    '(no group),1,P',
    'g,2,P1',
    '',
  ]);
});

test('a topic of a matrix is written as it is, also where it is called as another column', async () => {
  const args = ['--by', 'client', '--selector', 'group=g', '--policy', inWork('policy.yaml')];
  const table = await policy('matrix', ...args, '--topic', 'name', '--topic', '=Some_Topic/x');
  expect(table.stdout.split('\n')[0]?.split(/ {2,}/)).toEqual(['NAME', 'CLIENTS', 'name', '=Some_Topic/x']);
  expect(table.stdout).toMatch(/^a +1/m);
  const csv = await policy('matrix', ...args, '--topic', '=Some_Topic/x', '--format', 'csv');
  expect(csv.stdout).toMatch(/^name,clients,'=Some_Topic\/x\r\na,1,\r\n/);
});

test('the heat map is one page without a script or anything from elsewhere, and shows text as text', async () => {
  const hostile = file(
    'hostile.jsonl',
    `${JSON.stringify({ client_id: 'x', group: '<script>alert(1)</script>', scope: 'telemetry.write' })}\n`,
  );
  const out = inWork('access.html');
  const done = await policy(
    'matrix',
    '--by',
    'group',
    '--policy',
    inWork('policy.yaml'),
    '--clients',
    hostile,
    '--format',
    'html',
    '--out',
    out,
  );
  expect(done).toMatchObject({ code: 0, stdout: '' });
  const page = readFileSync(out, 'utf8');
  expect(page).toContain('&lt;script&gt;');
  expect(page).not.toMatch(/<script|src=|href=|url\(|@import/);
  expect(page).toContain("default-src 'none'");
  expect(page).toContain('class="p"');
});

test('matrix refuses what does not go together', async () => {
  expect((await policy('matrix', '--format', 'html')).code).toBe(2);
  expect((await policy('matrix', '--topic', 'a')).code).toBe(2);
});
