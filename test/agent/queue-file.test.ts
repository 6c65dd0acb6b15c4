import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { OutgoingMessage } from '../../agent/connection.ts';
import { openQueueFile } from '../../agent/queue-file.ts';
import { deviceCredentials, startAgent, startBroker, startIssuer } from '../support/agent-fixture.ts';

function queuePath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-queue-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'queue');
}

function open(path: string, clientId = 'd1') {
  const problems: string[] = [];
  const queue = openQueueFile(path, {
    clientId,
    onProblem: (problem) => problems.push(problem),
    maxFileBytes: 1_000_000,
  });
  return { queue, problems };
}

const message = (text: string): OutgoingMessage => ({
  topic: 'devices/d1/tä',
  payload: Buffer.from(text),
  qos: 1,
  retain: text.length % 2 === 0,
});

const texts = (messages: readonly OutgoingMessage[]) => messages.map(({ payload }) => payload.toString());

test('what was not removed is there again, whole and in order', async () => {
  const path = queuePath();
  const { queue } = open(path);
  const messages = ['a', 'bb', '', 'dddd'].map(message);
  for (const one of messages) queue.put(one);
  queue.remove(messages[1] as OutgoingMessage);
  await queue.close();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const again = open(path);
  expect(again.queue.recovered).toEqual([messages[0], messages[2], messages[3]]);
  again.queue.remove(again.queue.recovered[0] as OutgoingMessage);
  again.queue.put(message('e'));
  await again.queue.close();
  const third = open(path);
  expect(texts(third.queue.recovered)).toEqual(['', 'dddd', 'e']);
  expect([...again.problems, ...third.problems]).toEqual([]);
  await third.queue.close();
});

test('a file cut at any byte holds what was whole before it, and goes on from there', async () => {
  const path = queuePath();
  const { queue } = open(path);
  const headerBytes = statSync(path).size;
  const all = ['one', 'two', 'three'];
  for (const text of all) queue.put(message(text));
  await queue.close();
  const whole = readFileSync(path);
  for (let bytes = headerBytes; bytes < whole.length; bytes += 1) {
    writeFileSync(path, whole.subarray(0, bytes));
    const cut = open(path);
    const kept = texts(cut.queue.recovered);
    expect(kept).toEqual(all.slice(0, kept.length));
    expect(kept.length).toBeLessThan(all.length);
    cut.queue.put(message('next'));
    await cut.queue.close();
    const after = open(path);
    expect(texts(after.queue.recovered)).toEqual([...kept, 'next']);
    await after.queue.close();
  }
});

test('a bit that was turned ends what is believed, and is told', async () => {
  const path = queuePath();
  const { queue } = open(path);
  for (const text of ['one', 'two']) queue.put(message(text));
  await queue.close();
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  writeFileSync(path, bytes);
  const { queue: damaged, problems } = open(path);
  expect(texts(damaged.recovered)).toEqual(['one']);
  expect(problems).toHaveLength(1);
  await damaged.close();
});

test.each(['', 'not a queue at all, but somebody’s notes'])(
  'a file of something else: %j',
  async (content) => {
    const path = queuePath();
    writeFileSync(path, content);
    if (content === '') {
      const { queue } = open(path);
      expect(queue.recovered).toEqual([]);
      return queue.close();
    }
    expect(() => open(path)).toThrow(expect.objectContaining({ code: 'config_invalid' }));
    expect(readFileSync(path, 'utf8')).toBe(content);
  },
);

test('a queue of another client is refused', async () => {
  const path = queuePath();
  await open(path, 'd2').queue.close();
  expect(() => open(path)).toThrow(expect.objectContaining({ code: 'config_invalid' }));
});

test('what is acknowledged soon is never written', async () => {
  const path = queuePath();
  const { queue } = open(path);
  const emptyBytes = statSync(path).size;
  for (let i = 0; i < 1000; i += 1) {
    const one = message('x');
    queue.put(one);
    queue.remove(one);
  }
  await queue.close();
  expect(statSync(path).size).toBe(emptyBytes);
});

test('a file whose messages are all gone is emptied, and one with much that is gone is written anew', async () => {
  const path = queuePath();
  const first = open(path);
  const emptyBytes = statSync(path).size;
  const messages = Array.from({ length: 40 }, () => message('x'.repeat(10_000)));
  for (const one of messages) first.queue.put(one);
  await first.queue.close();
  const second = open(path);
  for (const one of second.queue.recovered.slice(0, 39)) second.queue.remove(one);
  await second.queue.close();
  expect(statSync(path).size).toBeLessThan(11_000);
  const third = open(path);
  expect(third.queue.recovered).toHaveLength(1);
  third.queue.remove(third.queue.recovered[0] as OutgoingMessage);
  await third.queue.close();
  expect(statSync(path).size).toBe(emptyBytes);
});

test('an agent killed by SIGKILL while offline: the next one delivers, in order, all but the last second', async () => {
  const issuer = await startIssuer();
  const broker = await startBroker();
  await broker.stop();
  const queueFile = queuePath();
  const script = resolve(import.meta.dirname, '../support/queueing-agent.ts');
  const task = JSON.stringify({ credentials: deviceCredentials(issuer.origin, broker.url), queueFile });
  const child = spawn(process.execPath, ['--conditions=@fleetgate/source', script, task], {
    stdio: 'inherit',
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const size = () => statSync(queueFile, { throwIfNoEntry: false })?.size ?? 0;
  await expect.poll(size, { timeout: 15_000, interval: 5 }).toBeGreaterThan(20_000);
  child.kill('SIGKILL');
  await once(child, 'exit');

  const received: number[] = [];
  broker.aedes.on('publish', ({ topic, payload }) => {
    if (topic === 'devices/d1/t') received.push(Number(payload.toString()));
  });
  await broker.start();
  const { agent } = startAgent(issuer.origin, broker.url, { queueFile });
  await agent.publish('devices/d1/t', '-1', { qos: 1 });
  expect(received.pop()).toBe(-1);
  expect(received.length).toBeGreaterThan(400);
  expect(received).toEqual(received.map((_, index) => index));
});

const canLimit = spawnSync('prlimit', ['--version']).status === 0;

// The tool is of util-linux; a limit of file size fails a write in the middle, as a full disk does.
test.skipIf(!canLimit)(
  'a disk that is full is told once, and what was in memory is written when there is room',
  async () => {
    const queueFile = queuePath();
    const script = resolve(import.meta.dirname, '../support/queueing-agent.ts');
    const task = JSON.stringify({
      credentials: deviceCredentials('http://127.0.0.1:1', 'mqtt://127.0.0.1:1'),
      queueFile,
    });
    const limited = [
      '--fsize=20000:unlimited',
      process.execPath,
      '--conditions=@fleetgate/source',
      script,
      task,
    ];
    const child = spawn('prlimit', limited, { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    let told = '';
    child.stdout.on('data', (chunk) => {
      told += chunk;
    });
    await expect.poll(() => told, { timeout: 15_000 }).toBe('problem\n');
    expect(statSync(queueFile).size).toBeLessThanOrEqual(20_000);
    execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=unlimited:']);
    await expect
      .poll(() => statSync(queueFile).size, { timeout: 15_000, interval: 5 })
      .toBeGreaterThan(40_000);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(told).toBe('problem\n');
    const { queue } = open(queueFile);
    const numbers = queue.recovered.map(({ payload }) => Number(payload.toString()));
    expect(numbers.length).toBeGreaterThan(800);
    expect(numbers).toEqual(numbers.map((_, index) => index));
    await queue.close();
  },
);

test('stop leaves in the file what was not delivered, and the next agent delivers it', async () => {
  const issuer = await startIssuer();
  const broker = await startBroker();
  await broker.stop();
  const queueFile = queuePath();
  const first = startAgent(issuer.origin, broker.url, { queueFile });
  const left = expect(first.agent.publish('a', 'kept', { qos: 1 })).rejects.toMatchObject({
    code: 'stopped',
  });
  const lost = expect(first.agent.publish('a', 'qos 0')).rejects.toMatchObject({ code: 'stopped' });
  await first.agent.stop();
  await Promise.all([left, lost]);
  await broker.start();
  const received: string[] = [];
  broker.aedes.on(
    'publish',
    ({ topic, payload }) => void (topic === 'a' && received.push(payload.toString())),
  );
  const second = startAgent(issuer.origin, broker.url, { queueFile });
  await second.agent.publish('a', 'new', { qos: 1 });
  expect(received).toEqual(['kept', 'new']);
});

test('whenFull: oldest gives up the oldest for the newest', async () => {
  const issuer = await startIssuer();
  const broker = await startBroker();
  await broker.stop();
  const { agent } = startAgent(issuer.origin, broker.url, { maxQueuedMessages: 2, whenFull: 'oldest' });
  const first = expect(agent.publish('a', '1', { qos: 1 })).rejects.toMatchObject({ code: 'queue_full' });
  const rest = [agent.publish('a', '2', { qos: 1 }), agent.publish('a', '3', { qos: 1 })];
  await first;
  await broker.start();
  await Promise.all(rest);
});
