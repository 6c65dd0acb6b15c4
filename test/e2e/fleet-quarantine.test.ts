import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { until } from '../support/broker-fixture.ts';
import {
  type Ended,
  freePorts,
  type RunningFleetgate,
  requestToken,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';
import type { ManyClientsTask } from '../support/many-clients.ts';

const CONNECTED = 1000;
const OTHERS = 50;

const data = temporaryDirectory();
const work = temporaryDirectory();
let running: RunningFleetgate;

const fleetgate = (...args: string[]): Promise<Ended> => runFleetgate([...args, '--data', data.path]);

interface Device {
  readonly id: string;
  readonly secret: string;
}

beforeAll(async () => {
  mkdirSync(work.path, { recursive: true });
  running = await startFleetgate(['up', ...freePorts(data.path)]);
});
afterAll(async () => {
  await running?.stop();
  data.remove();
  work.remove();
});

async function provisioned(): Promise<Device[]> {
  writeFileSync(
    join(work.path, 'box.yaml'),
    'template: box\nid: box-{serial}\ngroup: "{plant}"\nscope: telemetry.write\n',
  );
  await fleetgate('template', 'apply', join(work.path, 'box.yaml'));
  const rows = Array.from(
    { length: CONNECTED + OTHERS },
    (_, i) => `${i},${i < CONNECTED ? 'recalled' : 'good'}\n`,
  );
  writeFileSync(join(work.path, 'boxes.csv'), `serial,plant\n${rows.join('')}`);
  const out = join(work.path, 'boxes.jsonl');
  const done = await fleetgate(
    'fleet',
    'provision',
    '--template',
    'box',
    '--from',
    join(work.path, 'boxes.csv'),
    '--out',
    out,
  );
  expect(done.code).toBe(0);
  const lines = readFileSync(out, 'utf8').trim().split('\n');
  return lines.map((line) => {
    const { client_id, auth } = JSON.parse(line) as { client_id: string; auth: { client_secret: string } };
    return { id: client_id, secret: auth.client_secret };
  });
}

async function tokenOf({ id, secret }: Device): Promise<string> {
  const answer = await requestToken(running.ready['issuer'] as string, id, secret);
  return ((await answer.json()) as { access_token: string }).access_token;
}

function startClients() {
  const child: ChildProcess = fork(join(import.meta.dirname, '../support/many-clients.ts'), {
    execArgv: ['--conditions=@fleetgate/source'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const closed = new Map<string, number>();
  child.on('message', (message: { closed?: string[] }) => {
    for (const id of message.closed ?? []) closed.set(id, performance.now());
  });
  const connect = (task: ManyClientsTask) =>
    new Promise<void>((resolve, reject) => {
      child.on('message', (message: { connected?: number }) => {
        if (message.connected !== undefined) resolve();
      });
      child.once('exit', (code) => reject(new Error(`the clients ended with ${code}`)));
      child.send(task);
    });
  return { closed, connect };
}

test(`${CONNECTED} connected devices are cut off in five seconds by a selector, and none comes back until it is released`, {
  timeout: 120_000,
}, async () => {
  const devices = await provisioned();
  const port = Number(new URL(running.ready['mqtt'] as string).port);
  const clients = [];
  for (let i = 0; i < devices.length; i += 50) {
    const some = devices.slice(i, i + 50);
    const tokens = await Promise.all(some.map(tokenOf));
    clients.push(...some.map(({ id }, j) => ({ id, token: tokens[j] as string })));
  }
  const { closed, connect } = startClients();
  await connect({ port, clients });
  const recalled = devices.slice(0, CONNECTED);

  const beginMs = performance.now();
  const done = await fleetgate(
    ...['client', 'quarantine', '--selector', 'group=recalled', '--reason', 'recall of batch 7', '--yes'],
    ...['--format', 'json'],
  );
  expect(JSON.parse(done.stdout)).toEqual({ selected: CONNECTED, changed: CONNECTED, unchanged: 0 });
  await until(() => closed.size >= CONNECTED);
  const tookMs = Math.max(...closed.values()) - beginMs;
  process.stdout.write(`${CONNECTED} cut off ${Math.round(tookMs)} ms after the command was begun\n`);
  expect(tookMs).toBeLessThan(5000);
  expect(new Set(closed.keys())).toEqual(new Set(recalled.map(({ id }) => id)));

  // Neither by the token they have nor by a new one.
  for (const device of recalled.slice(0, 100)) {
    expect((await requestToken(running.ready['issuer'] as string, device.id, device.secret)).status).toBe(
      401,
    );
  }
  const back = startClients();
  await expect(back.connect({ port, clients: clients.slice(0, 1) })).rejects.toThrow();

  const shown = await fleetgate('client', 'show', 'box-0', '--format', 'json');
  expect(JSON.parse(shown.stdout)).toMatchObject({
    state: 'quarantined',
    quarantine_reason: 'recall of batch 7',
  });
  await fleetgate('client', 'release', '--selector', 'state=quarantined', '--yes');
  const released = recalled.slice(0, 100);
  const again = await Promise.all(released.map(tokenOf));
  const { connect: reconnect } = startClients();
  await reconnect({ port, clients: released.map(({ id }, i) => ({ id, token: again[i] as string })) });
});
