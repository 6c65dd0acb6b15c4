import { describe, expect, test } from 'vitest';
import {
  attack,
  messageId,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
  until,
} from '../support/broker-fixture.ts';
import { connectPacket, field, type RawClient } from '../support/broker-raw-client.ts';

async function watch(broker: TestBroker): Promise<RawClient> {
  const scope = ['mqtt:subscribe:#', 'mqtt:subscribe:devices/#'];
  const watcher = await broker.session('watcher', {}, broker.token('watcher', { scope }));
  expect(await subscribe(watcher, ['#'])).toEqual([1]);
  return watcher;
}

describe('a publish outside the grants closes the connection and reaches nobody', () => {
  describe.each([0, 1, 2] as const)('QoS %i', (qos) => {
    attack('to the topic of another device', {}, async (broker) => {
      const watcher = await watch(broker);
      const client = await broker.session('device-1');
      client.send(publishPacket('devices/device-2/x', 'forged', { qos, retain: true }));
      await client.closed;
      expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack']);
      expect(await watcher.settle()).toEqual([]);
      expect(await broker.refusal({ action: 'publish' })).toMatchObject({
        reason: 'no_rule',
        clientId: 'device-1',
        topic: 'devices/device-2/x',
      });
      const late = await broker.session(
        'late',
        {},
        broker.token('late', { scope: ['mqtt:subscribe:devices/#'] }),
      );
      await subscribe(late, ['devices/#']);
      expect(await late.settle()).toEqual([]);
    });
  });

  attack('to $SYS, where the host would disconnect another client', {}, async (broker) => {
    const victim = await broker.session('device-2');
    const client = await broker.session(
      'device-1',
      {},
      broker.token('device-1', { scope: ['mqtt:publish:#'] }),
    );
    client.send(publishPacket('$SYS/x/new/clients', 'device-2'));
    await client.closed;
    expect(await victim.settle()).toEqual([]);
  });

  test.each(['$SYS/x', '$share/g/a', '$fleetgate/session', '$other/x'])(
    'to %s, whatever the grants',
    async (topic) => {
      const broker = await startTestBroker();
      const token = broker.token('device-1', { scope: ['mqtt:publish:#', 'mqtt:publish:+/#'] });
      const client = await broker.session('device-1', {}, token);
      client.send(publishPacket(topic, 'x'));
      await client.closed;
      await broker.servesOthers();
    },
  );
});

test('what was sent behind a refused publish is not published', async () => {
  const broker = await startTestBroker();
  const watcher = await watch(broker);
  const client = await broker.session('device-1');
  client.send(
    publishPacket('devices/device-1/a', 'before'),
    publishPacket('devices/device-2/a', 'forged'),
    publishPacket('devices/device-1/a', 'behind'),
  );
  await client.closed;
  expect(payloads([await watcher.next('publish'), ...(await watcher.settle())])).toEqual(['before']);
});

test('nor what was sent behind it before CONNACK', async () => {
  const broker = await startTestBroker();
  const watcher = await watch(broker);
  const client = await broker.raw();
  client.send(
    connectPacket('device-1', broker.token('device-1')),
    // With a subscription the host needs a turn of the event loop to close.
    { cmd: 'subscribe', messageId: messageId(), subscriptions: [{ topic: 'devices/device-1/b', qos: 0 }] },
    publishPacket('devices/device-1/a', 'before'),
    publishPacket('devices/device-2/a', 'forged'),
    publishPacket('devices/device-1/a', 'behind'),
  );
  await client.closed;
  expect(payloads([await watcher.next('publish'), ...(await watcher.settle())])).toEqual(['before']);
});

test('the order of publishes is kept', async () => {
  const broker = await startTestBroker();
  const watcher = await watch(broker);
  const client = await broker.session('device-1');
  const numbers = Array.from({ length: 300 }, (_, i) => String(i));
  client.send(...numbers.map((number) => publishPacket('devices/device-1/a', number, { qos: 1 })));
  const got: string[] = [];
  while (got.length < numbers.length) got.push(...payloads([await watcher.next('publish')]));
  expect(got).toEqual(numbers);
});

test('a QoS 2 publish that is sent twice is published once', async () => {
  const broker = await startTestBroker();
  const watcher = await watch(broker);
  const client = await broker.session('device-1');
  const packet = publishPacket('devices/device-1/a', 'once', { qos: 2 });
  client.send(packet);
  await client.next('pubrec');
  client.send({ ...packet, dup: true });
  await client.next('pubrec');
  client.send({ cmd: 'pubrel', messageId: packet.messageId as number });
  await client.next('pubcomp');
  expect(payloads([await watcher.next('publish'), ...(await watcher.settle())])).toEqual(['once']);
});

describe('a malformed publish closes the connection', () => {
  const bytesOf = (topic: string | Uint8Array, more: number[] = []) => {
    const body = Buffer.concat([field(topic), Buffer.from(more), Buffer.from('x')]);
    return Buffer.concat([Buffer.from([more.length > 0 ? 0x32 : 0x30, body.length]), body]);
  };
  test.each<[string, Buffer]>([
    ['+ in the topic', bytesOf('devices/device-1/+')],
    ['# in the topic', bytesOf('devices/device-1/#')],
    ['NUL', bytesOf('devices/device-1/\0')],
    ['a control character', bytesOf('devices/device-1/\u0001')],
    ['invalid UTF-8', bytesOf(Buffer.from([0x64, 0xff]))],
    ['an overlong form', bytesOf(Buffer.from([0x64, 0xc0, 0xaf]))],
    ['a surrogate', bytesOf(Buffer.from([0x64, 0xed, 0xa0, 0x80]))],
    ['a noncharacter', bytesOf('devices/device-1/\uFFFF')],
    ['an empty topic', bytesOf('')],
    ['packet identifier 0', bytesOf('devices/device-1/x', [0, 0])],
    ['both QoS bits', Buffer.from([0x36, 3, 0, 1, 0x61])],
  ])('%s', async (_what, bytes) => {
    const broker = await startTestBroker();
    // All there is to match, so that only the form can refuse.
    const token = broker.token('device-1', { scope: ['mqtt:publish:#', 'mqtt:subscribe:#'] });
    const watcher = await watch(broker);
    const client = await broker.session('device-1', {}, token);
    client.write(bytes);
    await client.closed;
    expect(await watcher.settle()).toEqual([]);
    await broker.servesOthers();
  });

  test('too many levels', async () => {
    const broker = await startTestBroker();
    const client = await broker.session('device-1');
    client.send(publishPacket(`devices/device-1/${'a/'.repeat(130)}`, 'x'));
    await client.closed;
    await broker.servesOthers();
  });
});

test('a refusal does not hold the payload', async () => {
  const broker = await startTestBroker();
  const client = await broker.session('device-1');
  client.send(publishPacket('devices/device-2/x', 'a-secret-payload'));
  await client.closed;
  expect(broker.log()).toContain('devices/device-2/x');
  expect(broker.log()).not.toContain('a-secret-payload');
});

describe('with deniedPublish drop a refused publish is acknowledged and delivered to nobody', () => {
  const everything = ['mqtt:publish:#', 'mqtt:subscribe:#'];

  test.each([0, 1, 2] as const)('QoS %i, retained too', async (qos) => {
    const broker = await startTestBroker({ deniedPublish: 'drop' });
    const published: string[] = [];
    broker.aedes.on('publish', ({ topic, payload }) => published.push(`${topic} ${payload}`));
    const watcher = await broker.session('watcher', {}, broker.token('watcher', { scope: everything }));
    await subscribe(watcher, ['#']);
    const client = await broker.session('device-1');
    client.send(publishPacket('devices/device-2/x', 'forged', { qos, retain: true }));
    if (qos === 1) await client.next('puback');
    if (qos === 2) {
      const { messageId } = (await client.next('pubrec')) as { messageId?: number };
      client.send({ cmd: 'pubrel', messageId: messageId as number });
      await client.next('pubcomp');
    }
    client.send(publishPacket('devices/device-1/x', 'own', { qos: 1 }));
    await client.next('puback');
    await until(() => payloads(watcher.received).length > 0);
    await watcher.settle();
    expect(payloads(watcher.received)).toEqual(['own']);
    expect(published.join()).not.toContain('forged');
    expect(await broker.refusal({ action: 'publish' })).toMatchObject({
      reason: 'no_rule',
      topic: 'devices/device-2/x',
    });
    const late = await broker.session('late', {}, broker.token('late', { scope: everything }));
    await subscribe(late, ['#']);
    expect(payloads(await late.settle())).toEqual([]);
  });

  attack('and one to $SYS disconnects nobody', { deniedPublish: 'drop' }, async (broker) => {
    const victim = await broker.session('device-2');
    const client = await broker.session('device-1');
    client.send(publishPacket('$SYS/x/new/clients', 'device-2', { qos: 1 }));
    await client.next('puback');
    expect(await victim.settle()).toEqual([]);
  });

  attack('and one of a session that has expired closes it', { deniedPublish: 'drop' }, async (broker) => {
    const client = await broker.session('device-1', {}, broker.token('device-1', { expiresInSeconds: 1 }));
    await client.closed;
  });
});
