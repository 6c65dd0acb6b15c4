import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { enroll, enrollingDevice, keyProof } from '../support/enrolling-device.ts';
import {
  type Ended,
  freePorts,
  type RunningFleetgate,
  runCommand,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const DEVICES = 500;
const data = temporaryDirectory();
const work = temporaryDirectory();
let running: RunningFleetgate;
let issuer: string;

const inWork = (name: string) => join(work.path, name);
const fleetgate = (...args: string[]): Promise<Ended> => runFleetgate([...args, '--data', data.path]);
const agentMain = resolve(import.meta.dirname, '../../agent/main.ts');
const agent = (...args: string[]): Promise<Ended> =>
  runCommand(process.execPath, ['--conditions=@fleetgate/source', agentMain, ...args]);

function secretFile(name: string, content: string): string {
  writeFileSync(inWork(name), content, { mode: 0o600 });
  return inWork(name);
}

beforeAll(async () => {
  mkdirSync(work.path, { recursive: true });
  running = await startFleetgate(['up', ...freePorts(data.path)]);
  issuer = running.ready['issuer'] as string;
  writeFileSync(
    inWork('press.yaml'),
    'template: press\nid: press-{serial}\nscope: telemetry.write\nauth_method: private_key_jwt\n',
  );
  writeFileSync(inWork('box.yaml'), 'template: box\nid: box-{registration_id}\nscope: telemetry.write\n');
  expect((await fleetgate('template', 'apply', inWork('press.yaml'), inWork('box.yaml'))).code).toBe(0);
});
afterAll(async () => {
  await running?.stop();
  data.remove();
  work.remove();
});

test(`${DEVICES} devices of a factory line enroll at once by claim codes, each with a key of its own`, {
  timeout: 120_000,
}, async () => {
  const rows = Array.from({ length: DEVICES }, (_, i) => `F${i}\n`).join('');
  writeFileSync(inWork('line.csv'), `serial\n${rows}`);
  const out = inWork('codes.json');
  const made = await fleetgate(
    ...['enrollment', 'create', '--template', 'press', '--from', inWork('line.csv')],
    ...['--expires', '1h', '--out', out, '--format', 'json'],
  );
  expect(made).toMatchObject({ code: 0, stdout: '' });
  expect(statSync(out).mode & 0o777).toBe(0o600);
  const codes = JSON.parse(readFileSync(out, 'utf8')) as { claim_code: string; device: { serial: string } }[];
  expect(new Set(codes.map(({ claim_code }) => claim_code)).size).toBe(DEVICES);
  const devices = codes.map(() => enrollingDevice());
  const bodyOf = (i: number, code: string) => ({
    claim_code: code,
    public_jwk: devices[i]?.publicJwk,
    key_proof: keyProof(devices[i] as (typeof devices)[number], issuer, code),
  });
  const answers = await Promise.all(codes.map(({ claim_code }, i) => enroll(issuer, bodyOf(i, claim_code))));
  expect(answers.map(({ status }) => status)).toEqual(codes.map(() => 201));
  expect(answers.map(({ body }) => body.credentials?.client_id)).toEqual(
    codes.map(({ device }) => `press-${device.serial}`),
  );
  // A code that was used lets nobody else in.
  const others = await Promise.all(
    codes.slice(0, 20).map(({ claim_code }) => {
      const other = enrollingDevice();
      return enroll(issuer, {
        claim_code,
        public_jwk: other.publicJwk,
        key_proof: keyProof(other, issuer, claim_code),
      });
    }),
  );
  expect(others.map(({ body }) => body.error)).toEqual(Array(20).fill('enrollment_exhausted'));
  // And each has a key that gets a token.
  for (const i of [0, 7, 499]) {
    const private_jwk = devices[i]?.privateKey.export({ format: 'jwk' });
    const file = secretFile(
      `press-${i}.json`,
      JSON.stringify({ ...answers[i]?.body.credentials, auth: { method: 'private_key_jwt', private_jwk } }),
    );
    expect((await agent('token', '--credentials', file)).code).toBe(0);
  }
  const audit = await fleetgate(
    'audit',
    'list',
    '--action',
    'device.enroll',
    '--format',
    'json',
    '--limit',
    '1000',
  );
  const results = JSON.parse(audit.stdout) as { events?: unknown[] } | { result: string }[] as {
    result: string;
  }[];
  expect(results.filter(({ result }) => result === 'ok').length).toBeGreaterThanOrEqual(DEVICES);
  expect(results.filter(({ result }) => result === 'enrollment_exhausted')).toHaveLength(20);
});

test('the agent enrolls by a claim code with a key of its own, and gets a token', async () => {
  const made = await fleetgate('enrollment', 'create', '--template', 'press', '--format', 'json');
  const { claim_code } = JSON.parse(made.stdout) as { claim_code: string };
  const out = inWork('own.json');
  const done = await agent(
    ...['enroll', '--issuer', issuer, '--claim-code-file', secretFile('code', claim_code)],
    ...['--device', 'serial=OWN', '--own-key', '--out', out],
  );
  expect([done.code, done.stderr]).toEqual([0, expect.stringContaining('enrolled as press-OWN')]);
  expect(statSync(out).mode & 0o777).toBe(0o600);
  expect(existsSync(`${out}.enrolling`)).toBe(false);
  expect(await agent('token', '--credentials', out)).toMatchObject({ code: 0 });
  const again = await agent('enroll', '--issuer', issuer, '--claim-code-file', inWork('code'), '--out', out);
  expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('is there already')]);
});

test('the agent enrolls by a key of its group, waits for approval, and is the same after it was stopped', async () => {
  const group = inWork('group.json');
  await fleetgate(
    ...[
      'enrollment',
      'create',
      '--template',
      'box',
      '--group-key',
      '--approval',
      '--out',
      group,
      '--format',
      'json',
    ],
  );
  const { enrollment_id, primary_key } = JSON.parse(readFileSync(group, 'utf8')) as Record<string, string>;
  // The whole answer is no key, and neither is what a slip of the hand leaves of one.
  for (const file of [group, secretFile('part.key', (primary_key ?? '').slice(1))]) {
    const refused = await runFleetgate(['enrollment', 'derive-key', 'B7', '--group-key-file', file]);
    expect([refused.code, refused.stdout]).toEqual([2, '']);
    const device = await agent(
      ...['enroll', '--issuer', issuer, '--enrollment', enrollment_id as string, '--registration-id', 'B7'],
      ...['--group-key-file', file, '--out', inWork('never.json')],
    );
    expect([device.code, device.stderr]).toEqual([2, expect.stringMatching(/primary_key|32 bytes/)]);
  }
  const derived = await runFleetgate([
    'enrollment',
    'derive-key',
    'B7',
    '--group-key-file',
    secretFile('primary.key', primary_key ?? ''),
    '--format',
    'json',
  ]);
  const [{ device_key } = { device_key: '' }] = JSON.parse(derived.stdout) as { device_key: string }[];
  const out = inWork('box.json');
  const args = [
    ...['enroll', '--issuer', issuer, '--enrollment', enrollment_id as string, '--registration-id', 'B7'],
    ...['--device-key-file', secretFile('device.key', device_key), '--out', out],
  ];
  const waits = await agent(...args);
  expect([waits.code, waits.stderr]).toEqual([1, expect.stringContaining('waits for approval')]);
  const pending = await fleetgate('enrollment', 'requests', '--state', 'pending', '-q');
  const approved = await fleetgate('enrollment', 'approve', pending.stdout.trim());
  expect([approved.code, approved.stdout]).toEqual([0, expect.stringContaining('box-B7')]);
  expect((await agent(...args)).code).toBe(0);
  expect((await agent('token', '--credentials', out)).code).toBe(0);
  // With the group key itself, which makes the same.
  await fleetgate('enrollment', 'allow', enrollment_id as string, 'box-B8');
  const second = inWork('box-8.json');
  const byGroup = await agent(
    ...['enroll', '--issuer', issuer, '--enrollment', enrollment_id as string, '--registration-id', 'B8'],
    ...['--group-key-file', inWork('primary.key'), '--out', second, '--wait'],
  );
  expect([byGroup.code, byGroup.stderr]).toEqual([0, expect.stringContaining('enrolled as box-B8')]);
});

test('the agent enrolls over CoAP by a key of its group, and gets tokens over CoAP', async () => {
  writeFileSync(inWork('valve.yaml'), 'template: valve\nid: valve-{registration_id}\nauth_method: oscore\n');
  await fleetgate('template', 'apply', inWork('valve.yaml'));
  const made = await fleetgate(
    'enrollment',
    'create',
    '--template',
    'valve',
    '--group-key',
    '--format',
    'json',
  );
  const { enrollment_id, primary_key } = JSON.parse(made.stdout) as Record<string, string>;
  const out = inWork('valve.json');
  const done = await agent(
    ...['enroll', '--issuer', running.ready['coap'] as string, '--enrollment', enrollment_id as string],
    ...[
      '--registration-id',
      'V1',
      '--group-key-file',
      secretFile('valve.key', primary_key ?? ''),
      '--out',
      out,
    ],
  );
  expect([done.code, done.stderr]).toEqual([0, expect.stringContaining('enrolled as valve-V1')]);
  expect(readdirSync(work.path).filter((name) => name.includes('enrolling'))).toEqual(
    ['refused.json.enrolling'].filter((name) => existsSync(inWork(name))),
  );
  expect((await agent('token', '--credentials', out)).code).toBe(0);
  const coded = await agent(
    ...['enroll', '--issuer', running.ready['coap'] as string, '--claim-code-file', secretFile('c', 'x')],
    ...['--out', inWork('never.json')],
  );
  expect([coded.code, coded.stderr]).toEqual([2, expect.stringContaining('over https alone')]);
});

test.each([
  [['--claim-code-file', '/nowhere'], /\/nowhere does not exist/],
  [[], /name what lets the device in/],
  [['--enrollment', 'x'], /--registration-id/],
  [['--enrollment', 'x', '--registration-id', 'a'], /--device-key-file or --group-key-file/],
])('fleetgate-agent enroll with %j ends with 2 and says what to do', async (more, message) => {
  const done = await agent('enroll', '--issuer', issuer, '--out', inWork('never.json'), ...more);
  expect([done.code, done.stderr]).toEqual([2, expect.stringMatching(message)]);
});

test('the claim codes of a file are a list, also where there is one row', async () => {
  const file = inWork('one.csv');
  writeFileSync(file, 'seriel\nA1\n');
  const create = ['enrollment', 'create', '--template', 'press', '--from', file];
  const made = await fleetgate(...create, '--format', 'json');
  expect(JSON.parse(made.stdout)).toEqual([expect.objectContaining({ device: { seriel: 'A1' } })]);
  expect(made.stderr).toContain('{seriel}; did you mean serial?');
  writeFileSync(file, 'serial\n');
  expect(await fleetgate(...create)).toMatchObject({ code: 2, stderr: expect.stringContaining('no rows') });
});

test('an issuer over http that is not loopback is told no claim code', async () => {
  const done = await agent(
    ...['enroll', '--issuer', 'http://issuer.example', '--claim-code-file', secretFile('code2', 'x')],
    ...['--out', inWork('never.json')],
  );
  expect([done.code, done.stderr]).toEqual([2, expect.stringContaining('https://')]);
});

test('a refused device is told why, and keeps what it is known by', async () => {
  const out = inWork('refused.json');
  const done = await agent(
    ...[
      'enroll',
      '--issuer',
      issuer,
      '--claim-code-file',
      secretFile('wrong', '0'.repeat(28)),
      '--out',
      out,
      '--wait',
    ],
  );
  expect([done.code, done.stderr]).toEqual([1, expect.stringContaining('enrollment_credential_invalid')]);
  expect(existsSync(`${out}.enrolling`)).toBe(true);
});

test('an enrollment that was revoked is listed so, and lets nobody in', async () => {
  const made = await fleetgate('enrollment', 'create', '--template', 'press', '--format', 'json');
  const { claim_code, enrollment_id } = JSON.parse(made.stdout) as Record<string, string>;
  expect((await fleetgate('enrollment', 'revoke', enrollment_id as string)).stdout).toContain('revoked');
  const one = enrollingDevice();
  const answer = await enroll(issuer, {
    claim_code,
    device: { serial: 'R' },
    public_jwk: one.publicJwk,
    key_proof: keyProof(one, issuer, claim_code as string),
  });
  expect(answer.body.error).toBe('enrollment_revoked');
});

test('a device that says another serial than its claim code is for is told, and the code is left to its own', async () => {
  const made = await fleetgate(
    ...['enrollment', 'create', '--template', 'press', '--device', 'serial=S2', '--format', 'json'],
  );
  const code = secretFile('bound', (JSON.parse(made.stdout) as { claim_code: string }).claim_code);
  const asking = ['enroll', '--issuer', issuer, '--claim-code-file', code, '--own-key'];
  const other = await agent(...asking, '--device', 'serial=S9', '--out', inWork('s9.json'));
  expect([other.code, other.stderr]).toEqual([
    1,
    expect.stringMatching(/the enrollment is for another serial than the device says; .*enrollment_conflict/),
  ]);
  expect(existsSync(inWork('s9.json'))).toBe(false);
  const own = await agent(...asking, '--device', 'serial=S2', '--out', inWork('s2.json'));
  expect([own.code, own.stderr]).toEqual([0, expect.anything()]);
  expect(JSON.parse(readFileSync(inWork('s2.json'), 'utf8'))).toMatchObject({ client_id: 'press-S2' });
});
