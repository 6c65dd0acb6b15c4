import type { Readable } from 'node:stream';
import { parsePolicy } from '@fleetgate/broker';
import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import {
  attack,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
} from '../support/broker-fixture.ts';
import type { RawClient } from '../support/broker-raw-client.ts';

/** Subscribes broadly, gets only what it may. */
const wide = parsePolicy(
  `version: 1
scopes:
  observe:
    subscribe: [ { topic: wide/{client_id}/#, broader: filter } ]
`,
  'policy.yaml',
);
const observer = (broker: TestBroker) => broker.token('observer', { scope: ['observe'] });
const publisherToken = (broker: TestBroker) =>
  broker.token('publisher', { scope: ['mqtt:publish:#', 'mqtt:publish:$foo/#'] });

async function queueOf(broker: TestBroker, id: string): Promise<unknown[]> {
  const { persistence } = broker.aedes as unknown as {
    persistence: { outgoingStream(client: { id: string }): Readable };
  };
  return persistence.outgoingStream({ id }).toArray();
}

/** Acknowledges as a client does. */
function acknowledge(client: RawClient, packets: readonly { cmd?: string }[]): void {
  for (const packet of packets as IPublishPacket[]) {
    if (packet.cmd === 'publish' && packet.qos === 1)
      client.send({ cmd: 'puback', messageId: packet.messageId as number });
  }
}

const interleaved = Array.from({ length: 20 }, (_, i) =>
  i % 3 === 0 ? `wide/observer/${i}` : `wide/other/${i}`,
);
const permitted = interleaved.filter((topic) => topic.startsWith('wide/observer/'));

async function publish(
  broker: TestBroker,
  topics: readonly string[],
  qos: 0 | 1 = 1,
  retain = false,
): Promise<void> {
  const publisher = await broker.session('publisher', {}, publisherToken(broker));
  publisher.send(...topics.map((topic) => publishPacket(topic, topic, { qos, retain })));
  if (qos === 1) for (const _ of topics) await publisher.next('puback');
  await publisher.settle();
  await publisher.end();
}

async function take(client: RawClient, count: number): Promise<string[]> {
  const packets = [];
  while (packets.length < count) packets.push(await client.next('publish'));
  acknowledge(client, packets);
  const more = await client.settle();
  acknowledge(client, more);
  await client.settle();
  return payloads([...packets, ...more]);
}

describe('of interleaved messages a broad subscriber gets exactly the permitted ones', () => {
  test.each([
    ['clean', true],
    ['persistent', false],
  ])('live, %s', async (_what, clean) => {
    const broker = await startTestBroker({ policy: wide });
    const client = await broker.session('observer', { clean }, observer(broker));
    expect(await subscribe(client, ['wide/#'])).toEqual([1]);
    await publish(broker, interleaved);
    expect(await take(client, permitted.length)).toEqual(permitted);
    await publish(broker, interleaved);
    expect(await take(client, permitted.length)).toEqual(permitted);
    expect(await queueOf(broker, 'observer')).toEqual([]);
    await broker.servesOthers();
  });

  test('queued while offline', async () => {
    const broker = await startTestBroker({ policy: wide });
    const client = await broker.session('observer', { clean: false }, observer(broker));
    await subscribe(client, ['wide/#']);
    await client.end();
    await publish(broker, interleaved);
    const again = await broker.session('observer', { clean: false }, observer(broker));
    expect(await take(again, permitted.length)).toEqual(permitted);
    expect(await queueOf(broker, 'observer')).toEqual([]);
  });

  test('unacknowledged before the connection broke', async () => {
    const broker = await startTestBroker({ policy: wide });
    const client = await broker.session('observer', { clean: false }, observer(broker));
    await subscribe(client, ['wide/#']);
    await publish(broker, interleaved);
    for (const _ of permitted) await client.next('publish');
    await client.end();
    const again = await broker.session('observer', { clean: false }, observer(broker));
    expect(await take(again, permitted.length)).toEqual(permitted);
    expect(await queueOf(broker, 'observer')).toEqual([]);
  });

  test('retained', async () => {
    const broker = await startTestBroker({ policy: wide });
    await publish(broker, interleaved, 1, true);
    const client = await broker.session('observer', {}, observer(broker));
    await subscribe(client, ['wide/#']);
    expect((await take(client, permitted.length)).sort()).toEqual([...permitted].sort());
  });
});

attack('a message queued under a wider token is not delivered under a narrower one', {}, async (broker) => {
  const token = (...scope: string[]) => broker.token('device-1', { scope });
  const client = await broker.session(
    'device-1',
    { clean: false },
    token('mqtt:subscribe:a/#', 'mqtt:subscribe:b/#'),
  );
  await subscribe(client, ['a/#', 'b/#']);
  await client.end();
  await publish(broker, ['a/1', 'b/1', 'a/2', 'b/2']);
  const again = await broker.session('device-1', { clean: false }, token('mqtt:subscribe:b/#'));
  expect(await take(again, 2)).toEqual(['b/1', 'b/2']);
  expect(await queueOf(broker, 'device-1')).toEqual([]);
});

attack('# sees no topic that begins with $, live, retained or queued', {}, async (broker) => {
  const token = broker.token('device-1', { scope: ['mqtt:subscribe:#'] });
  const client = await broker.session('device-1', { clean: false }, token);
  await subscribe(client, ['#']);
  await publish(broker, ['$foo/live']);
  expect(payloads(await client.settle())).toEqual([]);
  await client.end();
  await publish(broker, ['$foo/queued', '$foo/retained'], 1, true);
  const again = await broker.session('device-1', { clean: false }, token);
  await subscribe(again, ['#']);
  expect(payloads(await again.settle())).toEqual([]);
});

attack('what is held back is not a warning, and is told', { policy: wide }, async (broker) => {
  const client = await broker.session('observer', {}, observer(broker));
  await subscribe(client, ['wide/#']);
  await publish(broker, ['wide/other/1']);
  expect(await broker.refusal({ action: 'receive' })).toMatchObject({
    reason: 'no_rule',
    topic: 'wide/other/1',
  });
  expect(payloads(await client.settle())).toEqual([]);
});
