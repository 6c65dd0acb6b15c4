import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { publishPacket, startTestBroker, subscribe, type TestBroker } from '../support/broker-fixture.ts';

const topic = 'devices/device-1/telemetry/t';

async function publish(broker: TestBroker, text: string, more: { retain?: boolean } = {}): Promise<void> {
  const publisher = await broker.session(
    'publisher',
    {},
    broker.token('publisher', { scope: ['mqtt:publish:#'] }),
  );
  publisher.send(publishPacket(topic, text, { qos: 2, ...more }));
  await publisher.next('pubrec');
  await publisher.end();
}

describe.each<[filter: string, granted: 1 | 2]>([
  [topic, 1],
  ['devices/device-1/+/t', 1],
  ['devices/device-1/#', 1],
  ['devices/device-1/#', 2],
])('a QoS 2 message to %s at QoS %i', (filter, granted) => {
  test.each([true, false])('live, clean session %s', async (clean) => {
    const broker = await startTestBroker();
    const client = await broker.session('device-1', { clean });
    expect(await subscribe(client, [filter], granted)).toEqual([granted]);
    await publish(broker, 'live');
    expect(((await client.next('publish')) as IPublishPacket).qos).toBe(granted);
  });

  test('from the queue, and acknowledged it is gone', async () => {
    const broker = await startTestBroker();
    const away = await broker.session('device-1', { clean: false });
    await subscribe(away, [filter], granted);
    await away.end();
    await publish(broker, 'queued');
    const back = await broker.session('device-1', { clean: false });
    const got = (await back.next('publish')) as IPublishPacket;
    expect(got.qos).toBe(granted);
    const messageId = got.messageId as number;
    if (granted === 1) back.send({ cmd: 'puback', messageId });
    else {
      back.send({ cmd: 'pubrec', messageId });
      await back.next('pubrel');
      back.send({ cmd: 'pubcomp', messageId });
    }
    await back.settle();
    await back.end();
    const again = await broker.session('device-1', { clean: false });
    await publish(broker, 'next');
    expect(((await again.next('publish')) as IPublishPacket).payload.toString()).toBe('next');
  });

  test('retained', async () => {
    const broker = await startTestBroker();
    await publish(broker, 'kept', { retain: true });
    const client = await broker.session('device-1');
    await subscribe(client, [filter], granted);
    expect(((await client.next('publish')) as IPublishPacket).qos).toBe(granted);
  });
});

test('of several filters the highest counts', async () => {
  const broker = await startTestBroker();
  const client = await broker.session('device-1', { clean: false });
  await subscribe(client, ['devices/device-1/#'], 1);
  await subscribe(client, [topic], 2);
  await publish(broker, 'both');
  expect(((await client.next('publish')) as IPublishPacket).qos).toBe(2);
});

test('what was sent at QoS 2 is sent again at QoS 2, whatever is granted since', async () => {
  const broker = await startTestBroker();
  const first = await broker.session('device-1', { clean: false });
  await subscribe(first, [topic], 2);
  await publish(broker, 'under way');
  const sent = (await first.next('publish')) as IPublishPacket;
  await subscribe(first, [topic], 1);
  await first.end();
  const second = await broker.session('device-1', { clean: false });
  const again = (await second.next('publish')) as IPublishPacket;
  expect([again.qos, again.messageId]).toEqual([2, sent.messageId]);
});
