import type { Readable } from 'node:stream';
import { parsePolicy } from '@fleetgate/broker';
import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect } from 'vitest';
import {
  attack,
  payloads,
  publishPacket,
  subscribe,
  type TestBroker,
  until,
} from '../support/broker-fixture.ts';
import type { RawClient } from '../support/broker-raw-client.ts';
import { A, B } from './victim.ts';

/** The observer may subscribe as broadly as it likes and see what is open, but for what is sealed in it. */
const policy = parsePolicy(
  `version: 1
scopes:
  observe: { subscribe: [ { topic: 'open/#', broader: filter } ] }
deny:
  - subscribe: [ 'open/+/sealed' ]
`,
  'policy.yaml',
);

const queueOf = (broker: TestBroker, id: string): Promise<unknown[]> =>
  (
    broker.aedes as unknown as { persistence: { outgoingStream(client: { id: string }): Readable } }
  ).persistence
    .outgoingStream({ id })
    .toArray();

const observer = (broker: TestBroker, clean = false) =>
  broker.session('observer', { clean }, broker.token('observer', { scope: ['observe'] }));

/** How far the clock of a broker under test is ahead. */
const ahead = { ms: 0 };

/** A client of everything, for what others are to have published. */
const publisher = (broker: TestBroker) =>
  broker.session('publisher', {}, broker.token('publisher', { scope: ['mqtt:publish:#'] }));

async function publish(
  client: RawClient,
  topics: readonly string[],
  more: { qos?: 0 | 1 | 2; retain?: boolean } = {},
): Promise<void> {
  const { qos = 1, retain = false } = more;
  const packets = topics.map((topic, i) => publishPacket(topic, `${topic} ${i}`, { qos, retain }));
  client.send(...packets);
  for (const _ of packets) {
    if (qos === 1) await client.next('puback');
    if (qos === 2) {
      const { messageId } = (await client.next('pubrec')) as { messageId?: number };
      client.send({ cmd: 'pubrel', messageId: messageId as number });
    }
  }
  await client.settle();
}

/** Takes `count` messages with their handshakes, as a client does, and whatever comes beyond them. */
async function take(client: RawClient, count: number): Promise<string[]> {
  const got: string[] = [];
  let released = 0;
  let received = 0;
  while (got.length < count || released < received) {
    const packet = await client.next();
    if (packet.cmd === 'pubrel') {
      client.send({ cmd: 'pubcomp', messageId: packet.messageId as number });
      released += 1;
    }
    if (packet.cmd !== 'publish') continue;
    got.push(packet.payload.toString());
    if (packet.qos === 1) client.send({ cmd: 'puback', messageId: packet.messageId as number });
    if (packet.qos === 2) {
      client.send({ cmd: 'pubrec', messageId: packet.messageId as number });
      received += 1;
    }
  }
  return [...got, ...payloads(await client.settle())];
}

const permitted = (topics: readonly string[]) =>
  topics.flatMap((topic, i) =>
    topic.startsWith('open/') && topic !== 'open/x/sealed' ? [`${topic} ${i}`] : [],
  );

const open = (count: number) => Array.from({ length: count }, () => 'open/x/y');
const sealed = (count: number) => Array.from({ length: count }, () => 'open/x/sealed');
const secret = (count: number) => Array.from({ length: count }, () => `devices/${A}/secret`);
const patterns: [string, string[]][] = [
  ['taking turns', Array.from({ length: 30 }, () => [...open(1), ...secret(1)]).flat()],
  ['the refused first', [...secret(20), ...open(10)]],
  ['the refused last', [...open(10), ...secret(20)]],
  ['one permitted among many refused', [...secret(25), ...open(1), ...sealed(25)]],
  ['one refused among many permitted', [...open(25), ...sealed(1), ...open(25)]],
  ['three kinds in turn', Array.from({ length: 15 }, () => [...open(1), ...sealed(1), ...secret(1)]).flat()],
];

describe('of permitted and refused messages a persistent observer of # gets each permitted one once, and none is left', () => {
  const filterSets: [string, string[]][] = [
    ['by one filter', ['#']],
    ['by four filters that overlap', ['#', 'open/#', '+/x/#', 'open/+/+']],
  ];
  for (const qos of [1, 2] as const) {
    for (const [how, filters] of filterSets) {
      for (const [order, topics] of patterns) {
        attack(`QoS ${qos}, ${how}, ${order}: live and after a reconnect`, { policy }, async (broker) => {
          const from = await publisher(broker);
          const client = await observer(broker);
          expect(await subscribe(client, filters, qos)).toEqual(filters.map(() => qos));
          await publish(from, topics, { qos });
          expect(await take(client, permitted(topics).length)).toEqual(permitted(topics));
          expect(await queueOf(broker, 'observer')).toEqual([]);
          await client.end();
          await until(() => broker.auth.connections.size === 1);
          await publish(from, topics, { qos });
          const again = await observer(broker);
          expect(await take(again, permitted(topics).length)).toEqual(permitted(topics));
          expect(await queueOf(broker, 'observer')).toEqual([]);
          await again.end();
          const third = await observer(broker);
          expect(payloads(await third.settle())).toEqual([]);
        });
      }
    }
  }
});

attack(
  'acknowledged late and in reverse, each permitted message leaves the queue and none else',
  { policy },
  async (broker) => {
    const from = await publisher(broker);
    const client = await observer(broker);
    await subscribe(client, ['#', 'open/#']);
    const [, topics] = patterns[0] as [string, string[]];
    await publish(from, topics);
    const ids: number[] = [];
    while (ids.length < permitted(topics).length) {
      ids.push(((await client.next('publish')) as IPublishPacket).messageId as number);
    }
    expect(await queueOf(broker, 'observer')).toHaveLength(ids.length);
    for (const id of ids.reverse()) client.send({ cmd: 'puback', messageId: id });
    await client.settle();
    expect(await queueOf(broker, 'observer')).toEqual([]);
  },
);

attack(
  'what B may publish and the observer may not see does not fill the queue of one who is connected',
  {
    policy,
    limits: { maxQueuedMessagesPerClient: 20 },
  },
  async (broker) => {
    const client = await observer(broker);
    await subscribe(client, ['#']);
    const flood = await broker.session(B);
    for (let i = 0; i < 20; i += 1)
      await publish(
        flood,
        Array.from({ length: 100 }, () => `devices/${B}/x`),
      );
    await publish(await publisher(broker), ['open/x/y']);
    expect(await take(client, 1)).toEqual(['open/x/y 0']);
    expect(await queueOf(broker, 'observer')).toEqual([]);
  },
);

attack('what is refused of the retained takes nothing out of the queue', { policy }, async (broker) => {
  const from = await publisher(broker);
  await publish(from, [...secret(1), ...sealed(1), 'open/kept'], { retain: true });
  const first = await observer(broker);
  await subscribe(first, ['open/#']);
  await first.end();
  const topics = open(10);
  await publish(from, topics);
  const client = await observer(broker);
  for (let i = 0; i < 5; i += 1) await subscribe(client, ['#', '+/#']);
  const waiting = (await queueOf(broker, 'observer')) as IPublishPacket[];
  expect(payloads(waiting)).toEqual(permitted(topics));
});

describe('retained messages', () => {
  const kept = [`devices/${A}/state`, 'open/a', 'open/x/sealed', 'open/b', `devices/${B}/state`];
  const filters = ['#', '+/#', 'open/#', 'open/+/+', '+/x/sealed', `devices/${A}/#`];
  for (const clean of [true, false]) {
    attack(
      `of what a filter matches the observer gets what it may (clean ${clean})`,
      { policy },
      async (broker) => {
        await publish(await publisher(broker), kept, { retain: true });
        const client = await observer(broker, clean);
        for (const filter of filters) await subscribe(client, [filter]);
        await publish(await broker.session(B), [`devices/${B}/end`]);
        await until(() => payloads(client.received).length >= 6);
        await client.settle();
        expect(new Set(payloads(client.received))).toEqual(new Set(['open/a 1', 'open/b 3']));
        expect(await queueOf(broker, 'observer')).toEqual([]);
      },
    );
  }

  for (const clean of [true, false]) {
    for (const qos of [1, 2] as const) {
      attack(
        `one of QoS 2 from B ends no session of an observer of QoS ${qos} (clean ${clean})`,
        {},
        async (broker) => {
          await publish(await broker.session(B), [`devices/${B}/poison`], { qos: 2, retain: true });
          const token = broker.token('observer', { scope: ['mqtt:subscribe:#'] });
          for (let i = 0; i < 3; i += 1) {
            const client = await broker.session('observer', { clean }, token);
            await subscribe(client, ['devices/#'], qos);
            expect(await take(client, 1)).toEqual([`devices/${B}/poison 0`]);
            expect(await client.settle()).toEqual([]);
            await client.end();
          }
        },
      );
    }
  }

  attack('of A are not for a token that has no grant any more', {}, async (broker) => {
    await publish(await broker.session(A), [`devices/${A}/state`], { retain: true });
    const wide = broker.token(B, { scope: [`mqtt:subscribe:devices/${A}/#`] });
    const client = await broker.session(B, { clean: false }, wide);
    await subscribe(client, [`devices/${A}/#`]);
    expect(await take(client, 1)).toHaveLength(1);
    await client.end();
    const again = await broker.session(B, { clean: false });
    expect(await subscribe(again, [`devices/${A}/#`, `devices/${A}/state`])).toEqual([0x80, 0x80]);
    expect(payloads(await again.settle())).toEqual([]);
  });
});

describe('what waits for a session', () => {
  const wide = [`mqtt:subscribe:devices/${A}/#`, `mqtt:subscribe:devices/${B}/#`];
  const topics = [`devices/${A}/1`, `devices/${B}/2`, `devices/${A}/3`, `devices/${B}/4`];

  async function waiting(broker: TestBroker, scope: readonly string[]): Promise<RawClient> {
    const client = await broker.session(B, { clean: false }, broker.token(B, { scope }));
    await subscribe(client, [`devices/${A}/#`, `devices/${B}/#`]);
    await client.end();
    const from = await publisher(broker);
    await publish(from, topics);
    return from;
  }

  attack('is judged by the token it is fetched with', {}, async (broker) => {
    await waiting(broker, wide);
    const again = await broker.session(B, { clean: false });
    expect(await take(again, 2)).toEqual([`devices/${B}/2 1`, `devices/${B}/4 3`]);
    expect(await queueOf(broker, B)).toEqual([]);
  });

  attack(
    'and was refused once does not come back with a wider token, nor does its subscription',
    {},
    async (broker) => {
      const from = await waiting(broker, wide);
      const narrow = await broker.session(B, { clean: false }, broker.token(B, { scope: [] }));
      expect(await take(narrow, 0)).toEqual([]);
      await narrow.end();
      const again = await broker.session(B, { clean: false }, broker.token(B, { scope: wide }));
      await publish(from, topics);
      expect(await take(again, 0)).toEqual([]);
      expect(await queueOf(broker, B)).toEqual([]);
    },
  );

  attack(
    'is not for one whose token is refused, and stays for who comes with a good one',
    {},
    async (broker) => {
      await waiting(broker, wide);
      expect(await broker.connack(B, broker.token(B, { expiresInSeconds: -60 }), { clean: false })).toBe(4);
      expect(await broker.connack(B, broker.token(A), { clean: false, username: '' })).toBe(2);
      const again = await broker.session(B, { clean: false }, broker.token(B, { scope: wide }));
      expect(await take(again, 4)).toHaveLength(4);
    },
  );

  attack(
    'goes no further when the token expires while it is on its way',
    { now: () => Date.now() + ahead.ms },
    async (broker) => {
      ahead.ms = 0;
      await waiting(broker, wide);
      const token = broker.token(B, { scope: wide, expiresInSeconds: 60 });
      const client = await broker.session(B, { clean: false }, token);
      expect(await take(client, 4)).toHaveLength(4);
      ahead.ms = 66_000;
      const from = await broker.session(A);
      await publish(from, [`devices/${A}/late`]);
      await client.closed;
      expect(payloads(client.received)).not.toContain(`devices/${A}/late 0`);
      ahead.ms = 0;
    },
  );
});
