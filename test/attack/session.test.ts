import type { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { IConnackPacket, IPublishPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import {
  attack,
  messageId,
  ownScope,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
  until,
} from '../support/broker-fixture.ts';
import { connectPacket, type RawClient } from '../support/broker-raw-client.ts';
import { A, B, victim, watcher } from './victim.ts';

interface Store {
  outgoingStream(client: { id: string }): Readable;
  subscriptionsByClient(client: { id: string }): Promise<{ topic: string }[]>;
}
const storeOf = (broker: TestBroker) => (broker.aedes as unknown as { persistence: Store }).persistence;
const queueOf = (broker: TestBroker, id: string) => storeOf(broker).outgoingStream({ id }).toArray();
const topic = `devices/${A}/x`;

async function publishTo(broker: TestBroker, contents: readonly string[], qos: 1 | 2 = 1): Promise<void> {
  const token = broker.token('publisher', { scope: ['mqtt:publish:#'] });
  const publisher = await broker.session('publisher', {}, token);
  for (const payload of contents) {
    publisher.send(publishPacket(topic, payload, { qos }));
    await publisher.next(qos === 1 ? 'puback' : 'pubrec');
  }
  await publisher.settle();
  await publisher.end();
}

async function take(client: RawClient, count: number): Promise<string[]> {
  const got: string[] = [];
  while (got.length < count) {
    const packet = (await client.next('publish')) as IPublishPacket;
    got.push(packet.payload.toString());
    client.send({ cmd: 'puback', messageId: packet.messageId as number });
  }
  return [...got, ...payloads(await client.settle())];
}

/** What device A may do here: also send to where it does not listen. */
const tokenOfA = (broker: TestBroker) => broker.token(A, { scope: [...ownScope(A), 'mqtt:publish:up/#'] });
const unreleased = publishPacket('up/x', 'sent once', { qos: 2, messageId: 7 });

/** Device A goes, and leaves a subscription and a message that it has not released. */
async function leave(broker: TestBroker): Promise<void> {
  const client = await broker.session(A, { clean: false }, tokenOfA(broker));
  expect(await subscribe(client, [`devices/${A}/#`])).toEqual([1]);
  client.send(unreleased);
  await client.next('pubrec');
  await client.end();
}

/** It is all as it was: the subscription, what waits for A, and that its message has been sent. */
async function isIntact(broker: TestBroker, waiting: readonly string[]): Promise<void> {
  expect((await storeOf(broker).subscriptionsByClient({ id: A })).map((one) => one.topic)).toEqual([
    `devices/${A}/#`,
  ]);
  const again = await broker.raw();
  again.send(connectPacket(A, tokenOfA(broker), { clean: false }));
  expect(await again.next('connack')).toMatchObject({ returnCode: 0, sessionPresent: true });
  expect(await take(again, waiting.length)).toEqual(waiting);
  expect(await queueOf(broker, A)).toEqual([]);
  again.send({ ...unreleased, dup: true });
  await again.next('pubrec');
  await again.end();
}

describe('the stored session of A, with three messages waiting, survives', () => {
  const waiting = ['1', '2', '3'];
  type Attempt = (broker: TestBroker) => Promise<unknown>;
  const attempts: [string, Attempt][] = [
    [
      'a CONNECT with its id, no token and clean=1',
      (broker) => broker.connack(A, undefined, { clean: true }),
    ],
    [
      'a CONNECT with its id, a wrong token and clean=1',
      (broker) => broker.connack(A, 'x.y.z', { clean: true }),
    ],
    [
      'a CONNECT with its id, the token of B and clean=1',
      (broker) => broker.connack(A, broker.token(B), { clean: true, username: '' }),
    ],
    [
      'a CONNECT with its id, its expired token and clean=1',
      (broker) => broker.connack(A, broker.token(A, { expiresInSeconds: -60 }), { clean: true }),
    ],
    [
      'a CONNECT with its id, its token and a will it may not have',
      (broker) =>
        broker.connack(A, broker.token(A), {
          clean: true,
          will: { topic: `devices/${B}/x`, payload: Buffer.from('x'), qos: 0, retain: false },
        }),
    ],
    [
      'a CONNECT with its id, its token and no keep alive',
      (broker) => broker.connack(A, broker.token(A), { clean: true, keepalive: 0 }),
    ],
    [
      'fifty of them at once',
      (broker) => Promise.all(Array.from({ length: 50 }, () => broker.connack(A, 'x.y.z', { clean: true }))),
    ],
    [
      'one that hangs up behind its CONNECT',
      async (broker) => {
        const client = await broker.raw();
        client.send(connectPacket(A, 'x.y.z', { clean: true }));
        await client.end();
      },
    ],
    [
      'one that hangs up while its wrong token is verified',
      async (broker) => {
        for (let turns = 0; turns < 10; turns += 1) {
          const client = await broker.raw();
          client.send(connectPacket(A, `${broker.token(A)}A`, { clean: true }));
          for (let i = 0; i < turns; i += 1) await nextTurn();
          await client.end();
        }
      },
    ],
    [
      'a session of B that subscribes, unsubscribes and goes',
      async (broker) => {
        const client = await broker.session(B, { clean: true });
        await subscribe(client, [`devices/${B}/#`, `devices/${A}/#`]);
        client.send({ cmd: 'unsubscribe', messageId: messageId(), unsubscriptions: [`devices/${A}/#`, '#'] });
        await client.next('unsuback');
        client.send({ cmd: 'disconnect' });
        await client.closed;
      },
    ],
    [
      'B acknowledging and releasing every packet identifier',
      async (broker) => {
        const client = await broker.session(B, { clean: false });
        for (let id = 1; id <= 65_535; id += 1) client.write(Buffer.from([0x40, 2, id >> 8, id & 255]));
        for (let id = 1; id <= 65_535; id += 257) client.write(Buffer.from([0x70, 2, id >> 8, id & 255]));
        await client.settle();
      },
    ],
    [
      'B receiving packet identifiers it never got',
      async (broker) => {
        for (let id = 1; id <= 50; id += 1) {
          const client = await broker.session(B, { clean: id % 2 === 0 });
          client.write(Buffer.from([0x50, 2, 0, id]));
          await client.settle();
          await client.end();
        }
      },
    ],
    [
      'the revocation of B',
      async (broker) => {
        const atSeconds = Math.floor(Date.now() / 1000);
        await broker.session(B);
        await broker.auth.revoke(broker.issuer.name, { kind: 'client', clientId: B, atSeconds });
      },
    ],
  ];
  for (const [name, attempt] of attempts) {
    attack(name, {}, async (broker) => {
      const seen = await watcher(broker);
      await leave(broker);
      await publishTo(broker, waiting);
      expect(await seen()).toEqual(['sent once', ...waiting]);
      await attempt(broker);
      await isIntact(broker, waiting);
      expect(await seen()).toEqual([]);
    });
  }
});

describe('the live session of A is not ended by', () => {
  // Fewer than those for which the whole address is slowed.
  attack('forty CONNECTs with its id and wrong tokens at once', {}, async (broker) => {
    const device = await victim(broker);
    const tokens = [
      'x.y.z',
      broker.token(B),
      broker.token(A, { expiresInSeconds: -60 }),
      `${broker.token(A)}A`,
    ];
    const codes = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        broker.connack(A, tokens[i % 4], { username: '', clean: i % 8 < 4 }),
      ),
    );
    expect(new Set(codes)).toEqual(new Set([2, 4]));
    await device.unharmed();
    expect(broker.aedes.connectedClients).toBe(1);
  });

  attack('B flapping a hundred times', {}, async (broker) => {
    const device = await victim(broker);
    for (let i = 0; i < 100; i += 1) {
      const client = await broker.raw();
      client.send(connectPacket(B, broker.token(B), { clean: i % 2 === 0 }));
      if (i % 3 > 0) await client.next('connack');
      if (i % 3 === 2) await subscribe(client, [`devices/${B}/#`]);
      client.stream.destroy();
    }
    await until(() => broker.auth.connections.size === 1);
    await device.unharmed();
    expect(broker.aedes.connectedClients).toBe(1);
  });

  attack('B publishing its id where the host tells of new clients', {}, async (broker) => {
    const device = await victim(broker);
    const scope = ['mqtt:publish:#', 'mqtt:publish:+/+/new/clients', 'mqtt:publish:$SYS/#'];
    const client = await broker.session(B, {}, broker.token(B, { scope }));
    client.send(publishPacket('$SYS/other/new/clients', A));
    await client.closed;
    await device.unharmed();
  });
});

describe('a storm of CONNECTs with the valid token of one client', () => {
  for (const [kind, clean] of [
    ['clean', () => true],
    ['persistent', () => false],
    ['mixed', (i: number) => i % 2 === 0],
  ] as const) {
    attack(`of 150, ${kind}, leaves one session, and none when it goes`, {}, async (broker) => {
      const clients = await Promise.all(Array.from({ length: 150 }, () => broker.raw()));
      for (const [i, client] of clients.entries())
        client.send(connectPacket(A, broker.token(A), { clean: clean(i) }));
      const alive = () => clients.filter(({ stream }) => !stream.destroyed);
      await until(() => alive().length === 1);
      const [last] = alive() as [RawClient];
      expect(await last.next('connack')).toMatchObject({ returnCode: 0 });
      expect(await subscribe(last, [`devices/${A}/#`])).toEqual([1]);
      await publishTo(broker, ['once']);
      expect(await take(last, 1)).toEqual(['once']);
      await until(() => broker.auth.connections.size === 1);
      expect(broker.aedes.connectedClients).toBe(1);
      await last.end();
      await until(() => broker.auth.connections.size === 0);
      expect(broker.aedes.connectedClients).toBe(0);
    });
  }

  attack('does not keep others waiting', {}, async (broker) => {
    const clients = await Promise.all(Array.from({ length: 150 }, () => broker.raw()));
    for (const client of clients) client.send(connectPacket(B, broker.token(B)));
    const device = await victim(broker);
    await device.unharmed();
  });
});

describe('a QoS 2 message that is cut off in the middle of its handshake', () => {
  /** Device A sends a message and is gone before it releases it. */
  async function cut(broker: TestBroker): Promise<IPublishPacket> {
    const client = await broker.session(A, { clean: false });
    const packet = publishPacket(topic, 'once', { qos: 2 });
    client.send(packet);
    await client.next('pubrec');
    await client.end();
    return packet;
  }

  attack('is not published again when B releases its identifier', {}, async (broker) => {
    const seen = await watcher(broker);
    const { messageId: id } = await cut(broker);
    expect(await seen()).toEqual(['once']);
    const client = await broker.session(B);
    client.send({ cmd: 'pubrel', messageId: id as number });
    expect(await client.next('pubcomp')).toMatchObject({ messageId: id });
    expect(await seen()).toEqual([]);
  });

  attack(
    'is not published again when A repeats it, whatever B did with its identifier',
    {},
    async (broker) => {
      const seen = await watcher(broker);
      const packet = await cut(broker);
      const client = await broker.session(B, { clean: false });
      const own = { ...packet, topic: `devices/${B}/x`, payload: 'of B' };
      client.send(own);
      await client.next('pubrec');
      client.send({ cmd: 'pubrel', messageId: packet.messageId as number });
      await client.next('pubcomp');
      const again = await broker.session(A, { clean: false });
      again.send({ ...packet, dup: true });
      await again.next('pubrec');
      again.send({ cmd: 'pubrel', messageId: packet.messageId as number });
      await again.next('pubcomp');
      expect(await seen()).toEqual(['once', 'of B']);
    },
  );

  attack('is judged anew when B repeats it as its own', {}, async (broker) => {
    const seen = await watcher(broker);
    const packet = await cut(broker);
    const client = await broker.session(B);
    client.send({ ...packet, dup: true });
    await client.closed;
    expect(await seen()).toEqual(['once']);
  });

  attack('is not published again after A was revoked and is back with other grants', {}, async (broker) => {
    const seen = await watcher(broker);
    const packet = await cut(broker);
    const atSeconds = Math.floor(Date.now() / 1000) - 1;
    const narrower = broker.token(A, { scope: [`mqtt:subscribe:devices/${A}/#`] });
    await broker.auth.revoke(broker.issuer.name, { kind: 'client', clientId: A, atSeconds });
    const again = await broker.session(A, { clean: false }, narrower);
    again.send({ cmd: 'pubrel', messageId: packet.messageId as number });
    await again.next('pubcomp');
    again.send({ ...packet, dup: true });
    await again.closed;
    expect(await seen()).toEqual(['once']);
  });

  attack('that B may not publish is neither received nor released', {}, async (broker) => {
    const seen = await watcher(broker);
    const client = await broker.session(B);
    const packet = publishPacket(topic, 'forged', { qos: 2 });
    client.send(packet, { cmd: 'pubrel', messageId: packet.messageId as number });
    await client.closed;
    expect(client.received.map(({ cmd }) => cmd)).not.toContain('pubrec');
    expect(await seen()).toEqual([]);
  });
});

describe('packets out of order from one who has a session', () => {
  const rows: [string, number[]][] = [
    ['PUBACK of nothing', [0x40, 2, 0, 9]],
    ['PUBACK of identifier 0', [0x40, 2, 0, 0]],
    ['PUBACK without an identifier', [0x40, 0]],
    ['PUBREC of nothing', [0x50, 2, 0, 9]],
    ['PUBREC without an identifier', [0x50, 0]],
    ['PUBREL of nothing', [0x62, 2, 0, 9]],
    ['PUBREL without an identifier', [0x62, 0]],
    ['PUBREL with other flags', [0x60, 2, 0, 9]],
    ['PUBCOMP of nothing', [0x70, 2, 0, 9]],
    ['PUBCOMP without an identifier', [0x70, 0]],
    ['a PUBLISH that ends in its topic', [0x30, 4, 0xff, 0xff, 1, 1]],
    ['a PUBLISH of QoS 1 that ends before its identifier', [0x32, 3, 0, 1, 0x61]],
    ['a PUBLISH with both QoS bits', [0x36, 5, 0, 1, 0x61, 0, 1]],
    ['a PUBLISH of nothing', [0x30, 0]],
    ['a PUBLISH with a length of five bytes', [0x30, 0xff, 0xff, 0xff, 0xff, 1]],
    ['a SUBSCRIBE with other flags', [0x80, 6, 0, 1, 0, 1, 0x23, 0]],
    ['a SUBSCRIBE of nothing', [0x82, 2, 0, 1]],
    ['a SUBSCRIBE without QoS', [0x82, 5, 0, 1, 0, 1, 0x23]],
    ['a SUBSCRIBE of QoS 3', [0x82, 6, 0, 1, 0, 1, 0x23, 3]],
    ['a SUBSCRIBE with a byte behind', [0x82, 7, 0, 1, 0, 1, 0x23, 0, 9]],
    ['an UNSUBSCRIBE of nothing', [0xa2, 2, 0, 1]],
    ['a PINGREQ with flags', [0xc1, 0]],
    ['a DISCONNECT with flags', [0xe1, 0]],
  ];
  for (const [name, bytes] of rows) {
    attack(`${name} concerns nobody else`, {}, async (broker) => {
      const device = await victim(broker);
      for (const clean of [true, false]) {
        const client = await broker.session(B, { clean });
        client.write(Buffer.from(bytes));
        client.send(publishPacket(`devices/${A}/x`, 'forged'));
        await client.closed;
        expect(payloads(client.received)).toEqual([]);
        expect(client.received.map(({ cmd }) => cmd)).not.toContain('suback');
      }
      await device.unharmed();
    });
  }
});

test('half-open connections with a full queue on its way do not keep the device out', async () => {
  const broker = await startTestBroker();
  const device = await victim(broker, { clean: false });
  await device.client.end();
  const waiting = Array.from({ length: 1_000 }, (_, i) => `${i} ${'x'.repeat(10_000)}`);
  await publishTo(broker, waiting);
  // Each is gone without a word, as behind a dead link: it reads nothing and closes nothing.
  for (let i = 0; i < 5; i += 1) {
    const dead = await broker.raw();
    dead.stream.pause();
    dead.send(connectPacket(A, broker.token(A), { clean: false }));
    await until(() => [...broker.auth.connections].some(({ stream }) => stream.writableLength > 0));
  }
  const startMs = performance.now();
  const back = await broker.session(A, { clean: false });
  expect(performance.now() - startMs).toBeLessThan(2_000);
  expect(await take(back, waiting.length)).toEqual(waiting);
  expect(await queueOf(broker, A)).toEqual([]);
  await broker.servesOthers();
});

attack(
  'a clean session gets nothing of what waited for the one before, and leaves nothing',
  {},
  async (broker) => {
    const device = await victim(broker, { clean: false });
    await device.client.end();
    await publishTo(broker, ['1', '2'], 1);
    await publishTo(broker, ['3'], 2);
    const client = await broker.raw();
    client.send(connectPacket(A, broker.token(A), { clean: true }));
    expect((await client.next('connack')) as IConnackPacket).toMatchObject({ sessionPresent: false });
    expect(await client.settle()).toEqual([]);
    expect(await queueOf(broker, A)).toEqual([]);
    await client.end();
    const again = await broker.session(A, { clean: false });
    expect(await again.settle()).toEqual([]);
  },
);
