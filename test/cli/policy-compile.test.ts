import { afterAll, expect, test } from 'vitest';
import { certificateFolder } from '../support/certificates.ts';
import { runFleetgate } from '../support/fleetgate-process.ts';

const folder = certificateFolder();
afterAll(folder.remove);

const policy = folder.write(
  'policy.yaml',
  `version: 1
scopes:
  telemetry: { publish: [ 'd/{client_id}/t/#' ] }
  state: { publish: [ { topic: s, max_qos: 1 } ] }
  observe: { subscribe: [ d/+/t/# ] }
`,
);

const compile = (target: string, ...args: string[]) =>
  runFleetgate(['policy', 'compile', '--target', target, ...args]);
const ofClient = ['--client-id', 'a', '--scope', 'telemetry'];

test('without a client what is to be known of the policy is on stdout, a line each, and exit 1 says that something is refused', async () => {
  const { code, stdout } = await compile('rabbitmq', '--policy', policy);
  expect(stdout.split('\n')).toEqual([
    expect.stringMatching(/policy\.yaml:4:\d+: refused publish s of scope state: .*max_qos: 1/),
    expect.stringMatching(/policy\.yaml:5:\d+: narrowed subscribe d\/\+\/t\/# of scope observe: /),
    '',
  ]);
  expect(code).toBe(1);
  expect(await compile('emqx', '--policy', policy)).toMatchObject({ code: 0, stdout: '' });
});

test('with a client the claim is on stdout, a scope or rule on each line, and notes are on stderr', async () => {
  const accepted = ['--accept-not-enforced', 'max_qos', '--policy', policy];
  const rabbit = await compile('rabbitmq', ...accepted, ...ofClient, '--audience', 'r', '--vhost', 'v');
  expect(rabbit.stdout.split('\n').slice(0, 2)).toEqual([
    'r.write:v/amq.topic/d.a.t',
    'r.write:v/amq.topic/d.a.t.*',
  ]);
  expect([rabbit.code, rabbit.stderr]).toEqual([0, '']);
  const state = await compile('rabbitmq', ...accepted, '--client-id', 'a', '--scope', 'state');
  expect(state.stderr).toContain('not_enforced publish s of scope state');
  const { stdout } = await compile('emqx', '--policy', policy, ...ofClient);
  expect(stdout.split('\n')).toContain('{"permission":"allow","action":"publish","topic":"d/a/t/#"}');
});

test('a policy of which a rule is refused gives no client anything', async () => {
  const { code, stdout } = await compile('rabbitmq', '--policy', policy, ...ofClient, '--format', 'json');
  const answer = JSON.parse(stdout) as { value?: unknown; notes: { kind: string }[] };
  expect([code, answer.value, answer.notes[0]?.kind]).toEqual([1, undefined, 'refused']);
});

test('a client whose values cannot be said is refused', async () => {
  const plain = folder.write(
    'plain.yaml',
    "version: 1\nscopes:\n  telemetry: { publish: [ 'd/{client_id}/t' ] }\n",
  );
  const dotted = ['--client-id', 'press.1', '--scope', 'telemetry', '--format', 'json'];
  const { code, stdout } = await compile('rabbitmq', '--policy', plain, ...dotted);
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    target: 'rabbitmq',
    claim: 'extra_scopes',
    notes: [{ kind: 'refused', filter: 'd/press.1/t' }],
  });
});

test('what is not given is as the configuration has it for that target', async () => {
  const config = folder.write(
    'fleetgate.yaml',
    `issuer:
  token_targets:
    - { audience: r1, target: rabbitmq, policy_file: policy.yaml, vhost: one, accept_not_enforced: [ max_qos ] }
    - { audience: r2, target: rabbitmq, policy_file: policy.yaml, exchange: two, claim: more, accept_not_enforced: [ max_qos ] }
`,
  );
  const first = await compile('rabbitmq', '--config', config, ...ofClient);
  expect(first.stdout).toContain('r1.write:one/amq.topic/d.a.t\n');
  const second = await compile(
    'rabbitmq',
    '--config',
    config,
    '--audience',
    'r2',
    '--format',
    'json',
    ...ofClient,
  );
  expect(JSON.parse(second.stdout)).toMatchObject({ claim: 'more' });
  expect(second.stdout).toContain('r2.write:%2F/two/d.a.t');
});

test('a policy that is not there is told with what to name instead', async () => {
  const { code, stderr } = await compile('emqx', '--data', `${folder.path}/none`);
  expect([code, stderr]).toEqual([
    2,
    expect.stringMatching(/policy\.yaml \(ENOENT\); name another file, or with --data/),
  ]);
});

test('an unknown option to accept, or none of the engines, is a usage error', async () => {
  expect((await compile('rabbitmq', '--policy', policy, '--accept-not-enforced', 'x')).code).toBe(2);
  expect((await compile('nats', '--policy', policy)).code).toBe(2);
});

test('a scope that is not in the policy, or whose placeholder has no value, is told on stderr', async () => {
  const placed = folder.write(
    'placed.yaml',
    "version: 1\nscopes:\n  telemetry: { publish: [ 'd/{group}/t', 'd/{client_id}/t' ] }\n",
  );
  const client = ['--policy', placed, '--client-id', 'a', '--scope', 'telemetry telemetri'];
  const told = [
    expect.stringMatching(/^`d\/\{group\}\/t` of scope telemetry does not apply: \{group\}: /),
    'scope telemetri is not in the policy; nearest is telemetry',
  ];
  for (const engine of ['emqx', 'rabbitmq']) {
    const { code, stdout, stderr } = await compile(engine, ...client);
    expect([code, stderr.trimEnd().split('\n')]).toEqual([0, expect.arrayContaining(told)]);
    expect(stdout).toContain(engine === 'emqx' ? 'd/a/t' : 'd.a.t');
  }
  const { stdout } = await compile('emqx', ...client, '--format', 'json');
  expect(JSON.parse(stdout)).toMatchObject({ notes: [], unapplied: expect.arrayContaining(told) });
});
