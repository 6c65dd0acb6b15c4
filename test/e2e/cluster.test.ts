import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { IPublishPacket } from 'mqtt-packet';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isRedisMissing, type Redis, startRedis } from '../../bench/redis.ts';
import { messageId, payloads, publishPacket, subscribe } from '../support/broker-fixture.ts';
import { connackOf, connectPacket, type RawClient, rawClient } from '../support/broker-raw-client.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import {
  type RunningFleetgate,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const FROZEN_AFTER_SECONDS = 1;
const DEAD_AFTER_SECONDS = 3;

const issuer = testIssuer('https://issuer.example');
const work = temporaryDirectory();
const brokers: RunningFleetgate[] = [];
let redis: Redis;

const configOf = (n: number) => join(work.path, `broker-${n}.yaml`);

async function startBroker(n: number): Promise<RunningFleetgate> {
  const broker = await startFleetgate([
    ...['broker', '--json', '--data', join(work.path, `data-${n}`), '--config', configOf(n)],
    ...['--set', 'broker.listeners.0.port=0', '--set', 'admin.port=0'],
  ]);
  brokers[n] = broker;
  return broker;
}

beforeAll(async () => {
  if (isRedisMissing) return;
  redis = await startRedis();
  mkdirSync(work.path, { recursive: true });
  writeFileSync(join(work.path, 'jwks.json'), JSON.stringify(issuer.jwks()));
  for (const n of [0, 1, 2]) {
    const cluster = `{ redis: "${redis.url}", frozen_after_seconds: ${FROZEN_AFTER_SECONDS}, dead_after_seconds: ${DEAD_AFTER_SECONDS} }`;
    writeFileSync(
      configOf(n),
      `broker:
  trusted_issuers: [ { issuer: "${issuer.name}", jwks_file: jwks.json } ]
  cluster: ${cluster}
`,
    );
    await startBroker(n);
  }
}, 120_000);

afterAll(async () => {
  for (const broker of brokers) await broker.stop();
  await redis?.stop();
  work.remove();
});

const own = (clientId: string) => [
  `mqtt:publish:devices/${clientId}/#`,
  `mqtt:subscribe:devices/${clientId}/#`,
];

async function session(
  n: number,
  clientId: string,
  {
    clean = false,
    scope = own(clientId),
    ...more
  }: { clean?: boolean; scope?: string[]; will?: object } = {},
): Promise<RawClient> {
  const client = await rawClient(brokers[n]?.ready['mqtt'] as string);
  const token = issuer.token({ clientId, scope });
  const code = await connackOf(client, connectPacket(clientId, token, { clean, ...more } as never));
  expect(code).toBe(0);
  return client;
}

const publishTo = ['mqtt:publish:devices/#'];

async function published(n: number, topic: string, text: string, qos: 1 | 2 = 1): Promise<void> {
  const client = await session(n, `service-${n}`, { clean: true, scope: publishTo });
  const packet = publishPacket(topic, text, { qos });
  client.send(packet);
  await client.next(qos === 1 ? 'puback' : 'pubrec');
  if (qos === 2) {
    client.send({ cmd: 'pubrel', messageId: packet.messageId as number });
    await client.next('pubcomp');
  }
  await client.end();
}

test.skipIf(isRedisMissing)(
  'a session moves between brokers, and is judged again under the grants of the new token',
  async () => {
    const wide = [...own('mover'), 'mqtt:subscribe:devices/other/#'];
    const first = await session(0, 'mover', { scope: wide });
    expect(await subscribe(first, ['devices/mover/#', 'devices/other/#'])).toEqual([1, 1]);
    await first.end();
    await published(1, 'devices/mover/a', 'own');
    await published(1, 'devices/other/a', 'other', 2);
    const second = await session(2, 'mover');
    expect(payloads([await second.next('publish'), ...(await second.settle())])).toEqual(['own']);
    // Taken over by another broker while it lives.
    const third = await session(1, 'mover');
    await second.closed;
    const again = (await third.next('publish')) as IPublishPacket;
    expect([again.payload.toString(), again.dup]).toEqual(['own', true]);
    third.send({ cmd: 'puback', messageId: again.messageId as number });
    await third.settle();
    await third.end();
    // What it gets now is all there is.
    const fourth = await session(0, 'mover');
    await published(2, 'devices/mover/a', 'last');
    expect(payloads([await fourth.next('publish')])).toEqual(['last']);
    await fourth.end();
  },
);

test.skipIf(isRedisMissing)(
  'an acknowledgement is given only while Redis answers; without it nobody is served, and then again',
  async () => {
    const receiver = await session(1, 'receiver');
    await subscribe(receiver, ['devices/receiver/#']);
    await receiver.end();
    const publisher = await session(0, 'publisher', { clean: true, scope: publishTo });
    redis.freeze();
    publisher.send(publishPacket('devices/receiver/a', 'while frozen', { qos: 1 }));
    await publisher.closed;
    expect(publisher.received.some(({ cmd }) => cmd === 'puback')).toBe(false);
    const refused = await rawClient(brokers[0]?.ready['mqtt'] as string);
    const token = issuer.token({ clientId: 'late', scope: own('late') });
    expect(await connackOf(refused, connectPacket('late', token))).toBe(3);
    const ready = await fetch(`${brokers[0]?.ready['admin']}/readyz`);
    expect(ready.status).toBe(503);
    redis.thaw();
    for (const broker of brokers) await untilReady(broker);
    await published(2, 'devices/receiver/a', 'after');
    const back = await session(0, 'receiver');
    // The first one was not acknowledged: it may come or not.
    while (payloads([await back.next('publish')])[0] !== 'after');
    await back.end();
  },
);

async function untilReady(broker: RunningFleetgate): Promise<void> {
  while ((await fetch(`${broker.ready['admin']}/readyz`)).status !== 200) await sleep(50);
}

test.skipIf(isRedisMissing)(
  'the will of a broker that was killed is published within the grants of its owner, once',
  async () => {
    const observer = await session(1, 'observer', { clean: true, scope: ['mqtt:subscribe:devices/#'] });
    await subscribe(observer, ['devices/#']);
    const will = { topic: 'devices/mourned/gone', payload: Buffer.from('gone'), qos: 1, retain: false };
    await session(0, 'mourned', { will });
    await session(0, 'back', {
      will: { topic: 'devices/back/gone', payload: Buffer.from('not gone'), qos: 1, retain: false },
    });
    await brokers[0]?.stop('SIGKILL');
    const back = await session(2, 'back');
    const got = (await observer.next('publish')) as IPublishPacket;
    expect([got.topic, got.payload.toString()]).toEqual(['devices/mourned/gone', 'gone']);
    await sleep(DEAD_AFTER_SECONDS * 1000);
    expect(payloads(await observer.settle())).toEqual([]);
    await back.end();
    await observer.end();
    await startBroker(0);
  },
);

test.skipIf(isRedisMissing)('fleetgate sessions lists, shows and cuts across all brokers', async () => {
  const clients = [];
  for (const n of [0, 1, 2]) {
    const client = await session(n, `listed-${n}`);
    await subscribe(client, [`devices/listed-${n}/#`], 2);
    clients.push(client);
  }
  await clients[2]?.end();
  await published(0, 'devices/listed-2/a', 'waits');
  const place = ['--config', configOf(1), '--format', 'json'];
  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await runFleetgate(['sessions', ...args, ...place]);
    return { code, stderr, value: JSON.parse(stdout || 'null') };
  };
  const listed = (await json('list')).value.filter(({ client }: { client: string }) =>
    client.startsWith('listed-'),
  );
  expect(listed).toMatchObject([
    { session: 'listed-0', state: 'live', address: '127.0.0.1', queued_messages: 0 },
    { session: 'listed-1', state: 'live', issuer: issuer.name },
    { session: 'listed-2', state: 'kept', queued_messages: 1 },
  ]);
  expect((await json('show', 'listed-2')).value).toMatchObject({
    filters: [{ filter: 'devices/listed-2/#', qos: 2 }],
    queued_messages: 1,
  });
  expect(await json('cut', 'listed-0', 'listed-1')).toMatchObject({ code: 0 });
  await Promise.all([clients[0]?.closed, clients[1]?.closed]);
  expect(await json('cut', 'listed-2')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('--forget ends what is kept'),
  });
  expect(await json('cut', '--client', 'listed-2', '--forget')).toMatchObject({ code: 0 });
  expect(await json('show', 'listed-2')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('there is no session listed-2'),
  });
  const empty = await session(0, 'listed-2');
  await subscribe(empty, ['devices/listed-2/#']);
  await published(0, 'devices/listed-2/a', 'new');
  expect(payloads([await empty.next('publish')])).toEqual(['new']);
  await empty.end();
  const without = await runFleetgate(['sessions', 'list', '--format', 'json']);
  expect(without).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('broker.cluster.redis is not set'),
  });
});

test.skipIf(isRedisMissing)('Redis killed and started again: what was acknowledged is there', async () => {
  const receiver = await session(1, 'survivor');
  await subscribe(receiver, ['devices/survivor/#']);
  await receiver.end();
  const texts = Array.from({ length: 20 }, (_, n) => `message ${n}`);
  const publisher = await session(0, 'publisher', { clean: true, scope: publishTo });
  publisher.send(
    ...texts.map((text) => publishPacket('devices/survivor/a', text, { qos: 1, messageId: messageId() })),
  );
  for (const _ of texts) await publisher.next('puback');
  await redis.kill();
  await publisher.closed;
  await redis.start();
  for (const broker of brokers) await untilReady(broker);
  const back = await session(2, 'survivor');
  const got: string[] = [];
  while (got.length < texts.length) got.push(...payloads([await back.next('publish')]));
  expect(got).toEqual(texts);
  await back.end();
});
