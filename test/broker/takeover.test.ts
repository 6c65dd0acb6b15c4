import { expect, test } from 'vitest';
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
import { connackOf, connectPacket, type RawClient } from '../support/broker-raw-client.ts';

/** Live clients as the host lists them. */
const listed = (aedes: object) => Object.keys((aedes as { clients: object }).clients);

test.each([
  ['clean', true],
  ['persistent', false],
])(
  'of many CONNECTs at once with one %s client id exactly one is live, and the host knows it',
  async (_what, clean) => {
    const broker = await startTestBroker();
    const first = await broker.session('device-1', { clean });
    await subscribe(first, ['devices/device-1/#', 'devices/device-1/a/#']);
    const clients = await Promise.all(Array.from({ length: 8 }, () => broker.raw()));
    const connect = connectPacket('device-1', broker.token('device-1'), { clean });
    for (const client of clients) client.send(connect);
    const alive = () => clients.filter(({ stream }) => !stream.destroyed);
    await until(() => alive().length === 1 && first.stream.destroyed);
    const [last] = alive() as [RawClient];
    await last.next('connack');
    await subscribe(last, ['devices/device-1/#']);
    expect(listed(broker.aedes)).toEqual(['device-1']);
    expect(broker.auth.connections.size).toBe(1);
    const scope = ['mqtt:publish:devices/#'];
    const publisher = await broker.session('publisher', {}, broker.token('publisher', { scope }));
    publisher.send(publishPacket('devices/device-1/x', 'once', { qos: 1 }));
    await publisher.next('puback');
    expect(payloads([await last.next('publish'), ...(await last.settle())])).toEqual(['once']);
    expect(broker.aedes.connectedClients).toBe(2);
  },
);

test('a device that reconnects while its old connection is closing is not lost sight of', async () => {
  const broker = await startTestBroker();
  for (let round = 0; round < 10; round += 1) {
    const old = await broker.session('device-1', { clean: false });
    await subscribe(old, ['devices/device-1/#']);
    const next = await broker.raw();
    next.send(connectPacket('device-1', broker.token('device-1'), { clean: false }));
    old.stream.destroy();
    await next.next('connack');
    await until(() => broker.auth.connections.size === 1);
    expect(listed(broker.aedes)).toEqual(['device-1']);
    await next.end();
    await until(() => broker.auth.connections.size === 0);
    expect(listed(broker.aedes)).toEqual([]);
  }
  expect(broker.aedes.connectedClients).toBe(0);
});

attack('a wrong token with the client id of a live session takes nothing over', {}, async (broker) => {
  const victim = await broker.session('device-1', { clean: false });
  expect(await broker.connack('device-1', 'x.y.z')).toBe(4);
  expect(await broker.connack('device-1', broker.token('device-2'), { username: '' })).toBe(2);
  expect(await victim.settle()).toEqual([]);
});

test('a CONNECT that is abandoned while it waits leaves the way free', async () => {
  const broker = await startTestBroker();
  const old = await broker.session('device-1');
  for (let i = 0; i < 20; i += 1) {
    const client = await broker.raw();
    client.send(connectPacket('device-1', broker.token('device-1')));
    if (i % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
    client.stream.destroy();
  }
  const client = await broker.raw();
  expect(await connackOf(client, connectPacket('device-1', broker.token('device-1')))).toBe(0);
  await old.closed;
  await until(() => broker.auth.connections.size === 1);
  expect(listed(broker.aedes)).toEqual(['device-1']);
  expect(broker.aedes.connectedClients).toBe(1);
});

/** Holds every clean session that enters until `release`. */
function holdEntering(broker: TestBroker) {
  const { persistence } = broker.aedes as unknown as {
    persistence: { cleanSubscriptions(client: object): Promise<void> };
  };
  const clean = persistence.cleanSubscriptions;
  const waiting: (() => void)[] = [];
  persistence.cleanSubscriptions = async (client) => {
    await new Promise<void>((resolve) => waiting.push(resolve));
    return clean.call(persistence, client);
  };
  return {
    held: () => waiting.length,
    release() {
      persistence.cleanSubscriptions = clean;
      for (const one of waiting) one();
    },
  };
}

test('a connection that closes on its way in is not left behind in the list of the host', async () => {
  const broker = await startTestBroker();
  const door = holdEntering(broker);
  const client = await broker.raw();
  client.send(connectPacket('device-1', broker.token('device-1')));
  await until(() => door.held() === 1);
  client.stream.destroy();
  await until(() => broker.auth.connections.size === 0);
  door.release();
  await broker.servesOthers();
  expect(listed(broker.aedes)).not.toContain('device-1');
  await until(() => broker.aedes.connectedClients === 0);
});

test('a token that expires while it waits for another connection of its client is expired', async () => {
  let aheadMs = 0;
  const broker = await startTestBroker({ now: () => Date.now() + aheadMs });
  const door = holdEntering(broker);
  const first = await broker.raw();
  first.send(connectPacket('device-1', broker.token('device-1')));
  await until(() => door.held() === 1);
  const second = await broker.raw();
  second.send(connectPacket('device-1', broker.token('device-1', { expiresInSeconds: 60 })));
  // Verified by then, most likely; if not, it is refused all the same.
  for (let i = 0; i < 20; i += 1) expect(await broker.connack(`other-${i}`, 'x.y.z')).toBe(4);
  aheadMs = 66_000;
  door.release();
  expect(await second.next('connack')).toMatchObject({ returnCode: 4 });
  expect(await broker.refusal({ reason: 'token_expired' })).toMatchObject({ clientId: 'device-1' });
});

attack('a refused CONNECT with clean=1 leaves the QoS 2 state of the device alone', {}, async (broker) => {
  const topic = 'devices/device-1/x';
  const watcher = await broker.session(
    'watcher',
    {},
    broker.token('watcher', { scope: ['mqtt:subscribe:devices/#'] }),
  );
  await subscribe(watcher, ['devices/#'], 0);
  const device = await broker.session('device-1', { clean: false });
  const packet = publishPacket(topic, 'once', { qos: 2, messageId: messageId() });
  device.send(packet);
  await device.next('pubrec');
  await device.end();

  expect(await broker.connack('device-1', 'x.y.z', { clean: true })).toBe(4);
  const hangingUp = await broker.raw();
  hangingUp.send(connectPacket('device-1', 'x.y.z', { clean: true }));
  await hangingUp.end();

  const again = await broker.session('device-1', { clean: false });
  again.send({ ...packet, dup: true });
  await again.next('pubrec');
  expect(payloads([await watcher.next('publish'), ...(await watcher.settle())])).toEqual(['once']);
});

attack('a refused CONNECT publishes no will', {}, async (broker) => {
  const topic = 'devices/device-1/state';
  const watcher = await broker.session(
    'watcher',
    {},
    broker.token('watcher', { scope: ['mqtt:subscribe:devices/#'] }),
  );
  await subscribe(watcher, ['devices/#']);
  const will = { topic, payload: Buffer.from('forged'), qos: 1 as const, retain: true };
  expect(await broker.connack('device-1', 'x.y.z', { will })).toBe(4);
  expect(payloads(await watcher.settle())).toEqual([]);
});
