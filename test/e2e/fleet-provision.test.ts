import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { compactDecrypt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Ended,
  fleetgateCommand,
  freePorts,
  type RunningFleetgate,
  requestToken,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
const work = temporaryDirectory();
let running: RunningFleetgate;

beforeAll(async () => {
  mkdirSync(work.path, { recursive: true });
  running = await startFleetgate(['up', ...freePorts(data.path)]);
  writeFileSync(
    inWork('sensor.yaml'),
    'template: sensor\nid: sensor-{serial}\nscope: telemetry.write\ngroup: plant-{plant}\nlabels: { hw: "{hw}" }\n',
  );
  writeFileSync(inWork('press.yaml'), 'template: press\nid: press-{n:03}\nauth_method: private_key_jwt\n');
  const applied = await fleetgate('template', 'apply', inWork('sensor.yaml'), inWork('press.yaml'));
  expect(applied).toMatchObject({ code: 0 });
});
afterAll(async () => {
  await running?.stop();
  data.remove();
  work.remove();
});

const inWork = (name: string) => join(work.path, name);
const fleetgate = (...args: string[]): Promise<Ended> => runFleetgate([...args, '--data', data.path]);

interface Line {
  client_id: string;
  issuer: string;
  auth: { method: string; client_secret: string; private_jwk?: Record<string, string> };
}

async function linesOf(file: string): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const line of createInterface({ input: createReadStream(file) })) {
    lines.push(JSON.parse(line) as Line);
  }
  return lines;
}

/** Greatest resident memory of a process so far, in bytes; 0 for one that has ended. */
function peakBytes(pid: number): number {
  try {
    const [, kib = '0'] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kib) * 1024;
  } catch {
    return 0;
  }
}

/** Runs a command and kills it when what it writes has grown to so many bytes. Its greatest memory. */
async function killedAt(out: string, bytes: number, ...args: string[]): Promise<number> {
  const child = spawn(process.execPath, [...fleetgateCommand, ...args, '--data', data.path], {
    stdio: 'ignore',
  });
  const ended = new Promise((done) => child.once('close', done));
  let peak = 0;
  while (!existsSync(out) || statSync(out).size < bytes) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode} before it was killed`);
    peak = Math.max(peak, peakBytes(child.pid as number));
    await sleep(5);
  }
  child.kill('SIGKILL');
  await ended;
  return peak;
}

const DEVICES = 100_000;
const MEMORY_LIMIT_BYTES = 300_000_000;

test(`${DEVICES} devices from a CSV, in a job that is killed twice, are ${DEVICES} clients with a secret each`, {
  timeout: 240_000,
}, async () => {
  const file = inWork('devices.csv');
  const rows = Array.from({ length: DEVICES }, (_, i) => `A${i},${i % 10},rev-${'abc'[i % 3]}\r\n`);
  writeFileSync(file, `serial,plant,hw\r\n${rows.join('')}`);
  const out = inWork('credentials.jsonl');
  const begin = ['fleet', 'provision', '--template', 'sensor', '--from', file, '--out', out];
  const peaks = [
    await killedAt(out, 3_000_000, ...begin),
    await killedAt(out, 12_000_000, 'fleet', 'resume', '--out', out),
  ];
  // What lies behind the last batch that was noted is written anew.
  expect((await fleetgate(...begin)).stderr).toContain('go on with: fleetgate fleet resume');
  const child = spawn(
    process.execPath,
    [...fleetgateCommand, 'fleet', 'resume', '--out', out, '--data', data.path, '--format', 'json'],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const watch = setInterval(() => {
    if (child.exitCode === null) peaks.push(peakBytes(child.pid as number));
  }, 50);
  const code = await new Promise((done) => child.once('close', done));
  clearInterval(watch);
  expect([code, stderr]).toEqual([0, expect.stringMatching(/100000 of 100000 devices \(\d+\/s\)/)]);
  expect(JSON.parse(stdout)).toMatchObject({ state: 'done', created: DEVICES, failed: 0, total: DEVICES });
  expect(existsSync(`${out}.job`)).toBe(false);

  const lines = await linesOf(out);
  expect(lines).toHaveLength(DEVICES);
  expect(new Set(lines.map(({ client_id }) => client_id)).size).toBe(DEVICES);
  expect(new Set(lines.map(({ auth }) => auth.client_secret)).size).toBe(DEVICES);
  const count = await fleetgate(
    'client',
    'quarantine',
    '--selector',
    'template=sensor',
    '--reason',
    'x',
    '--dry-run',
    '--format',
    'json',
  );
  expect(JSON.parse(count.stdout)).toMatchObject({ selected: DEVICES });
  expect(statSync(out).mode & 0o777).toBe(0o600);

  for (let i = 0; i < 1000; i += 50) {
    const some = Array.from({ length: 50 }, () => lines[Math.floor(Math.random() * DEVICES)] as Line);
    const answers = await Promise.all(
      some.map(({ client_id, auth, issuer }) => requestToken(issuer, client_id, auth.client_secret)),
    );
    expect(answers.map(({ status }) => status)).toEqual(some.map(() => 200));
    await Promise.all(answers.map((answer) => answer.arrayBuffer()));
  }
  peaks.push(peakBytes(running.process.pid as number));
  expect(Math.max(...peaks)).toBeLessThan(MEMORY_LIMIT_BYTES);
  const verified = await fleetgate('audit', 'verify');
  expect(verified.code).toBe(0);
});

test('a template is shown in each of its versions', async () => {
  const file = inWork('gauge.yaml');
  for (const group of ['first', 'second']) {
    writeFileSync(file, `template: gauge\nid: gauge-{serial}\nscope: telemetry.write\ngroup: ${group}\n`);
    await fleetgate('template', 'apply', file);
  }
  const show = (...version: string[]) =>
    fleetgate('template', 'show', 'gauge', ...version, '--format', 'json');
  expect(JSON.parse((await show('1')).stdout)).toMatchObject({ version: 1, template: { group: 'first' } });
  expect(JSON.parse((await show()).stdout)).toMatchObject({ version: 2, template: { group: 'second' } });
  expect(await show('first')).toMatchObject({ code: 2, stderr: expect.stringContaining('whole number') });
});

test('of several template files the one that is refused is told', async () => {
  writeFileSync(inWork('brace.yaml'), 'template: brace\nid: brace-{serial\n');
  const done = await fleetgate('template', 'apply', inWork('sensor.yaml'), inWork('brace.yaml'));
  expect(done).toMatchObject({ code: 1, stderr: expect.stringMatching(/\/brace\.yaml: id has a brace/) });
});

test('a scope of a template that the policy does not define is noted', async () => {
  writeFileSync(inWork('slip.yaml'), 'template: slip\nid: slip-{serial}\nscope: telemetry.wirte\n');
  const done = await fleetgate('template', 'apply', inWork('slip.yaml'));
  expect(done).toMatchObject({ code: 0, stderr: expect.stringContaining("did you mean 'telemetry.write'?") });
});

test('rows that fail go to a file with the reason, and when that is mended it is fed in', async () => {
  const file = inWork('mixed.csv');
  writeFileSync(file, 'serial,plant,hw,note\nM1,1,a,\n=M2,1,b,"=cmd"\nM3,,c,\nM4,1,d,\n');
  const out = inWork('mixed.jsonl');
  const dry = await fleetgate('fleet', 'provision', '--template', 'sensor', '--from', file, '--dry-run');
  expect(dry.code).toBe(1);
  expect(dry.stderr).toMatch(/mixed\.csv:3: the client id comes out as 'sensor-=M2'/);
  expect(dry.stderr).toMatch(/mixed\.csv:4: group needs a value of 'plant'/);
  const done = await fleetgate('fleet', 'provision', '--template', 'sensor', '--from', file, '--out', out);
  expect(done).toMatchObject({ code: 3, stderr: expect.stringContaining(`${out}.failed.csv`) });
  expect((await linesOf(out)).map(({ client_id }) => client_id)).toEqual(['sensor-M1', 'sensor-M4']);
  const failed = readFileSync(`${out}.failed.csv`, 'utf8');
  expect(failed.split('\r\n')).toEqual([
    'serial,plant,hw,note,_line,_error',
    expect.stringMatching(/^'=M2,1,b,'=cmd,3,/),
    expect.stringMatching(/^M3,,c,,4,/),
    '',
  ]);
  const mended = inWork('mended.csv');
  writeFileSync(mended, failed.replace("'=M2", 'M2').replace('M3,,', 'M3,1,'));
  const again = inWork('mended.jsonl');
  const second = await fleetgate(
    'fleet',
    'provision',
    '--template',
    'sensor',
    '--from',
    mended,
    '--out',
    again,
  );
  expect(second.code).toBe(0);
  expect((await linesOf(again)).map(({ client_id }) => client_id)).toEqual(['sensor-M2', 'sensor-M3']);
});

test('a key pair is made for each device that brings none, and its private half is in the output alone', async () => {
  const out = inWork('presses');
  const done = await fleetgate('fleet', 'provision', '--template', 'press', '--count', '3', '--out-dir', out);
  expect(done.code).toBe(0);
  expect(readdirSync(out).sort()).toEqual(['press-001.json', 'press-002.json', 'press-003.json']);
  expect(statSync(join(out, 'press-001.json')).mode & 0o777).toBe(0o600);
  const token = await runFleetgate(['token', 'request', '--credentials', join(out, 'press-002.json')]);
  expect([token.code, token.stderr]).toEqual([0, expect.any(String)]);
  const shown = await fleetgate('client', 'show', 'press-002', '--format', 'json');
  expect(JSON.stringify(JSON.parse(shown.stdout).jwks)).not.toContain('"d"');
});

test('credentials are encrypted to a recipient, who gets a token with them', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(inWork('factory.jwk'), JSON.stringify(publicKey.export({ format: 'jwk' })));
  writeFileSync(inWork('one.jsonl'), '{"serial":"J1","plant":1,"labels":{"hw":"x"}}\n');
  const out = inWork('encrypted.jsonl');
  const done = await fleetgate(
    'fleet',
    'provision',
    '--template',
    'sensor',
    '--from',
    inWork('one.jsonl'),
    '--out',
    out,
    '--encrypt-to',
    inWork('factory.jwk'),
  );
  expect(done.code).toBe(0);
  const text = readFileSync(out, 'utf8');
  expect(text).not.toContain('client_secret');
  const { jwe } = JSON.parse(text) as { jwe: string };
  const credentials = JSON.parse(
    new TextDecoder().decode((await compactDecrypt(jwe, privateKey)).plaintext),
  ) as Line;
  expect(
    (await requestToken(credentials.issuer, credentials.client_id, credentials.auth.client_secret)).status,
  ).toBe(200);
});

test.each([
  [['--from', 'x.csv', '--count', '3', '--out', 'o'], /--from, or how many/],
  [['--out', 'o'], /--from, or how many/],
  [['--count', '3'], /--out, or a directory/],
  [['--count', '0', '--out', 'o'], /whole number from 1/],
  [['--from', '/nowhere.csv', '--out', 'o'], /cannot read \/nowhere\.csv/],
  [['--count', '1', '--out', '/nowhere/o'], /cannot write/],
])('fleet provision with %j ends with 2 and says what to do', async (args, message) => {
  const done = await fleetgate('fleet', 'provision', '--template', 'press', ...args);
  expect([done.code, done.stderr]).toEqual([2, expect.stringMatching(message)]);
});

test('a template that is not there, and a file with a slip, are refused with the way out', async () => {
  const unknown = await fleetgate(
    'fleet',
    'provision',
    '--template',
    'ghost',
    '--count',
    '1',
    '--out',
    inWork('g'),
  );
  expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining('fleetgate template list')]);
  expect(unknown.stderr).not.toContain('resume');
  expect(existsSync(inWork('g'))).toBe(false);
  writeFileSync(inWork('slip.yaml'), 'template: slip\nid: a-{n}\nscopes: x\n');
  const slip = await fleetgate('template', 'apply', inWork('slip.yaml'));
  expect([slip.code, slip.stderr]).toEqual([2, expect.stringMatching(/slip\.yaml:3:1: .*scope/)]);
});

test('what is registered is written out, by a selector, as JSONL and CSV', async () => {
  const lines = await fleetgate('fleet', 'export', '--selector', 'template=press');
  expect(
    lines.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).client_id),
  ).toEqual(['press-001', 'press-002', 'press-003']);
  const csv = await fleetgate('fleet', 'export', '--selector', 'client_id=press-00*', '--format', 'csv');
  expect(csv.stdout.split('\r\n')).toHaveLength(5);
});

test('those selected are deleted when that was meant', async () => {
  const unsure = await fleetgate('client', 'delete', '--selector', 'template=press');
  expect([unsure.code, unsure.stderr]).toEqual([2, expect.stringContaining('delete 3 clients; add --yes')]);
  const done = await fleetgate(
    'client',
    'delete',
    '--selector',
    'template=press',
    '--yes',
    '--format',
    'json',
  );
  expect(JSON.parse(done.stdout)).toEqual({ selected: 3, changed: 3, unchanged: 0 });
});
