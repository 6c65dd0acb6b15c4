import { parsePolicy } from '@fleetgate/broker';
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { MAX_INBOUND_PER_SESSION } from '../../broker/guard/inbound-store.ts';
import { MAX_LINES_PER_SECOND } from '../../broker/line-rate.ts';
import {
  attack,
  attackOfMemory,
  describeOfMemory,
  messageId,
  ownScope,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
  testOfMemory,
  until,
} from '../support/broker-fixture.ts';

interface Store {
  incomingGetPacket(client: { id: string }, packet: { messageId: number }): Promise<{ payload: Buffer }>;
  outgoingStream(client: { id: string }): { toArray(): Promise<unknown[]> };
  createRetainedStream(filter: string): { toArray(): Promise<unknown[]> };
  subscriptionsByClient(client: { id: string }): Promise<unknown[]>;
}
const storeOf = (broker: TestBroker) => (broker.aedes as unknown as { persistence: Store }).persistence;

attack(
  'thousands of messages nobody subscribed to behind a slow one do not end the process',
  {},
  async (broker) => {
    const client = await broker.session('device-1');
    await subscribe(client, ['devices/device-1/s'], 0);
    const many = (topic: string, count: number) =>
      Array.from({ length: count }, () => publishPacket(topic, ''));
    client.send(...many('devices/device-1/s', 101), ...many('devices/device-1/other', 5_000));
    await until(() => payloads(client.received).length === 101);
  },
);

testOfMemory('a broker whose emitter has a queue is refused', async () => {
  await expect(startTestBroker({ aedes: { concurrency: 100 } })).rejects.toThrow(TypeError);
});

describe('a client that does not read', () => {
  attack(
    'is cut off, and holds nobody up',
    { limits: { maxUnreadBytesPerClient: 2_000_000 } },
    async (broker) => {
      const scope = [...ownScope('slow'), ...ownScope('device-1')];
      const slow = await broker.session('slow', {}, broker.token('slow', { scope }));
      await subscribe(slow, ['devices/slow/#'], 0);
      slow.stream.pause();
      const publisher = await broker.session('publisher', {}, broker.token('publisher', { scope }));
      const payload = Buffer.alloc(500_000);
      publisher.send(...Array.from({ length: 30 }, () => publishPacket('devices/slow/x', payload)));
      const other = await broker.session('device-1');
      await subscribe(other, ['devices/device-1/#']);
      publisher.send(publishPacket('devices/device-1/x', 'not held up'));
      expect(payloads([await other.next('publish')])).toEqual(['not held up']);
      expect(await broker.refusal({ action: 'session' })).toMatchObject({
        reason: 'reads_too_slowly',
        clientId: 'slow',
      });
    },
  );
});

describe('QoS 2 without PUBREL', () => {
  const qos2 = (id: number, payload: string | Buffer = 'x') =>
    publishPacket('devices/device-1/x', payload, { qos: 2, messageId: id });

  attackOfMemory('keeps an identifier of each message and not the message', {}, async (broker) => {
    const client = await broker.session('device-1', { clean: false });
    client.send(qos2(7, Buffer.alloc(100_000)));
    await client.next('pubrec');
    const kept = await storeOf(broker).incomingGetPacket({ id: 'device-1' }, { messageId: 7 });
    expect(kept.payload).toHaveLength(0);
  });

  attack('is bounded by session, over its connections', {}, async (broker) => {
    for (let from = 1; from <= MAX_INBOUND_PER_SESSION; from += 500) {
      const client = await broker.session('device-1', { clean: false });
      client.send(...Array.from({ length: 500 }, (_, n) => qos2(from + n)));
      for (let n = 0; n < 500; n += 1) await client.next('pubrec');
      await client.end();
    }
    const client = await broker.session('device-1', { clean: false });
    client.send(qos2(1));
    await client.next('pubrec');
    client.send(qos2(60_000));
    await client.closed;
    // What is finished gives room.
    const again = await broker.session('device-1', { clean: false });
    again.send({ cmd: 'pubrel', messageId: 1 });
    await again.next('pubcomp');
    again.send(qos2(60_000));
    await again.next('pubrec');
  });
});

test('two QoS 2 messages under way at once are each sent once, and the queue is empty afterwards', async () => {
  const broker = await startTestBroker();
  const client = await broker.session('device-1', { clean: false });
  await subscribe(client, ['devices/device-1/#'], 2);
  const publisher = await broker.session(
    'publisher',
    {},
    broker.token('publisher', { scope: ['mqtt:publish:#'] }),
  );
  publisher.send(
    publishPacket('devices/device-1/a', 'first', { qos: 2 }),
    publishPacket('devices/device-1/b', 'second', { qos: 2 }),
  );
  const one = (await client.next('publish')) as IPublishPacket;
  const two = (await client.next('publish')) as IPublishPacket;
  const ids = [one.messageId as number, two.messageId as number];
  client.send(...ids.map((id): Packet => ({ cmd: 'pubrec', messageId: id })));
  await client.next('pubrel');
  await client.next('pubrel');
  client.send(...ids.map((id): Packet => ({ cmd: 'pubcomp', messageId: id })));
  await client.settle();
  await until(async () => (await storeOf(broker).outgoingStream({ id: 'device-1' }).toArray()).length === 0);
  await client.end();
  const again = await broker.session('device-1', { clean: false });
  expect(payloads(await again.settle())).toEqual([]);
});

test('QoS 2 messages that are acknowledged leave the count of queued bytes, also when it is never empty', async () => {
  const broker = await startTestBroker({ limits: { maxQueuedBytesPerClient: 1_000 } });
  const client = await broker.session('device-1', { clean: false });
  await subscribe(client, ['devices/device-1/#'], 2);
  const scope = ['mqtt:publish:#'];
  const publisher = await broker.session('publisher', {}, broker.token('publisher', { scope }));
  const send = async () => {
    publisher.send(publishPacket('devices/device-1/a', 'x'.repeat(400), { qos: 2 }));
    return ((await client.next('publish')) as IPublishPacket).messageId as number;
  };
  let id = await send();
  for (let n = 0; n < 40; n += 1) {
    const following = await send();
    client.send({ cmd: 'pubrec', messageId: id });
    await client.next('pubrel');
    client.send({ cmd: 'pubcomp', messageId: id });
    await client.settle();
    id = following;
  }
  expect(broker.refusals).toEqual([]);
});

describe('the queue of a session that is away', () => {
  const policy = parsePolicy(
    `version: 1
scopes:
  observe: { subscribe: [ { topic: devices/+/telemetry/#, broader: filter } ] }
`,
    'policy.yaml',
  );
  const everything = ['mqtt:publish:#'];

  test('has no room taken by messages it may not receive', async () => {
    const broker = await startTestBroker({ policy, limits: { maxQueuedMessagesPerClient: 10 } });
    const token = broker.token('observer', { scope: ['observe'] });
    const observer = await broker.session('observer', { clean: false }, token);
    await subscribe(observer, ['#']);
    await observer.end();
    const publisher = await broker.session('publisher', {}, broker.token('publisher', { scope: everything }));
    for (let n = 0; n < 30; n += 1) publisher.send(publishPacket('devices/b/junk', 'junk', { qos: 1 }));
    publisher.send(publishPacket('devices/a/telemetry/t', 'wanted', { qos: 1 }));
    await publisher.settle();
    const again = await broker.session('observer', { clean: false }, token);
    expect(payloads([await again.next('publish')])).toEqual(['wanted']);
  });

  test('is bounded by bytes too', async () => {
    const broker = await startTestBroker({ limits: { maxQueuedBytesPerClient: 1_000 } });
    const client = await broker.session('device-1', { clean: false });
    await subscribe(client, ['devices/device-1/#']);
    await client.end();
    const publisher = await broker.session('publisher', {}, broker.token('publisher', { scope: everything }));
    for (const payload of ['a'.repeat(600), 'b'.repeat(600), 'c']) {
      publisher.send(publishPacket('devices/device-1/x', payload, { qos: 1 }));
    }
    await publisher.settle();
    expect(await broker.refusal({ action: 'receive' })).toMatchObject({ reason: 'queue_full' });
    const again = await broker.session('device-1', { clean: false });
    expect(payloads([await again.next('publish'), await again.next('publish')])).toEqual([
      'a'.repeat(600),
      'c',
    ]);
  });
});

attack(
  'a flood of refusals is a bounded number of log lines, and a count of the rest',
  {},
  async (broker) => {
    const client = await broker.session('device-1');
    for (let n = 0; n < 5; n += 1) {
      await subscribe(
        client,
        Array.from({ length: 200 }, (_, k) => `other/${n}/${k}`),
      );
    }
    expect(broker.refusals).toHaveLength(1000);
    await until(() => broker.log().includes('refused_more'));
    const lines = broker.log().split('\n');
    expect(lines.filter((line) => line.includes('"refused"')).length).toBeLessThanOrEqual(
      2 * MAX_LINES_PER_SECOND,
    );
    expect(broker.log()).toMatch(/"suppressed":\d+,"clientId":"device-1"/);
  },
);

attack(
  'the limit of subscriptions holds when each is given up as the next is taken',
  {
    limits: { maxSubscriptionsPerClient: 5 },
  },
  async (broker) => {
    const client = await broker.session('device-1', { clean: false });
    for (let n = 0; n < 20; n += 1) {
      const topic = `devices/device-1/${n}`;
      client.send(
        { cmd: 'unsubscribe', messageId: messageId(), unsubscriptions: [topic] },
        { cmd: 'subscribe', messageId: messageId(), subscriptions: [{ topic, qos: 1 }] },
      );
      await client.next('suback');
    }
    expect(await storeOf(broker).subscriptionsByClient({ id: 'device-1' })).toHaveLength(5);
  },
);

attack(
  'a QoS 1 message that meets the UNSUBSCRIBE of its filter closes no connection',
  {},
  async (broker) => {
    const topic = 'devices/device-1/t';
    const client = await broker.session('device-1', { clean: false });
    for (let n = 0; n < 20; n += 1) {
      await subscribe(client, [topic]);
      client.send(
        { cmd: 'unsubscribe', messageId: messageId(), unsubscriptions: [topic] },
        publishPacket(topic, 'x', { qos: 1 }),
      );
      await client.settle();
    }
  },
);

describe.each(['none', 'prefix'] as const)('with client ids bound loosely (%s)', (clientIdBinding) => {
  attack(
    'a session that is kept cannot be taken or emptied by another client',
    { clientIdBinding },
    async (broker) => {
      const owner = await broker.session('dev-1', { clean: false });
      await subscribe(owner, ['devices/dev-1/#']);
      await owner.end();
      const other = broker.token('dev', { scope: ownScope('dev') });
      for (const clean of [true, false])
        expect(await broker.connack('dev-1', other, { clean, username: 'dev' })).toBe(2);
      expect(await storeOf(broker).subscriptionsByClient({ id: 'dev-1' })).toHaveLength(1);
      expect(await broker.connack('dev-1', broker.token('dev-1'), { clean: false })).toBe(0);
    },
  );
});

describeOfMemory('a small message that came with much else keeps only itself in memory', () => {
  const much = publishPacket('devices/device-1/other', 'x'.repeat(50_000));
  const memoryOf = (kept: unknown[]) => kept.map((packet) => (packet as IPublishPacket).payload as Buffer);
  const expectOwn = (kept: unknown[]) => {
    expect(memoryOf(kept).map(({ buffer, length }) => [length, buffer.byteLength])).toEqual([[4, 4]]);
  };

  test('when it is retained', async () => {
    const broker = await startTestBroker();
    const client = await broker.session('device-1');
    client.send(much, publishPacket('devices/device-1/r', 'kept', { qos: 1, retain: true }), much);
    await client.next('puback');
    await until(async () => (await storeOf(broker).createRetainedStream('#').toArray()).length === 1);
    expectOwn(await storeOf(broker).createRetainedStream('#').toArray());
  });

  test('when it waits for a session', async () => {
    const broker = await startTestBroker();
    const scope = [...ownScope('away'), ...ownScope('device-1')];
    const away = await broker.session('away', { clean: false }, broker.token('away', { scope }));
    await subscribe(away, ['devices/away/#'], 1);
    await away.end();
    const client = await broker.session('device-1', {}, broker.token('device-1', { scope }));
    client.send(much, publishPacket('devices/away/q', 'kept', { qos: 1 }), much);
    const queued = () => storeOf(broker).outgoingStream({ id: 'away' }).toArray();
    await until(async () => (await queued()).length === 1);
    expectOwn(await queued());
  });
});
