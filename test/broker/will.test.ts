import type { Aedes } from 'aedes';
import { describe, expect, test } from 'vitest';
import {
  attackOfMemory,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
  until,
} from '../support/broker-fixture.ts';
import type { RawClient } from '../support/broker-raw-client.ts';

const topic = 'devices/device-1/state';
const will = { topic, payload: Buffer.from('gone'), qos: 1 as const, retain: false };

async function watch(broker: TestBroker): Promise<RawClient> {
  const watcher = await broker.session(
    'watcher',
    {},
    broker.token('watcher', { scope: ['mqtt:subscribe:devices/#'] }),
  );
  await subscribe(watcher, ['devices/#']);
  return watcher;
}

test('a will within the grants is published when the connection breaks, and not after DISCONNECT', async () => {
  const broker = await startTestBroker();
  const watcher = await watch(broker);
  const leaving = await broker.session('device-1', { will });
  leaving.send({ cmd: 'disconnect' });
  await leaving.closed;
  expect(payloads(await watcher.settle())).toEqual([]);
  const breaking = await broker.session('device-1', { will });
  await breaking.end();
  expect(payloads([await watcher.next('publish')])).toEqual(['gone']);
});

test('a refused publish closes the connection, and its will is published', async () => {
  const broker = await startTestBroker();
  const watcher = await watch(broker);
  const client = await broker.session('device-1', { will });
  client.send(publishPacket('devices/device-2/x', 'forged'));
  await client.closed;
  expect(payloads([await watcher.next('publish'), ...(await watcher.settle())])).toEqual(['gone']);
});

test('a session that is taken over leaves its will', async () => {
  const broker = await startTestBroker();
  const watcher = await watch(broker);
  await broker.session('device-1', { will });
  await broker.session('device-1');
  expect(payloads([await watcher.next('publish')])).toEqual(['gone']);
});

test('a session closed at its expiry leaves its will, which was within the grants at CONNECT', async () => {
  let aheadMs = 0;
  const broker = await startTestBroker({ now: () => Date.now() + aheadMs });
  const token = broker.token('watcher', { scope: ['mqtt:subscribe:devices/#'], expiresInSeconds: 3600 });
  const watcher = await broker.session('watcher', {}, token);
  await subscribe(watcher, ['devices/#']);
  const client = await broker.session(
    'device-1',
    { will },
    broker.token('device-1', { expiresInSeconds: 60 }),
  );
  aheadMs = 66_000;
  await client.closed;
  expect(payloads([await watcher.next('publish')])).toEqual(['gone']);
});

describe('a will outside the grants never gets in', () => {
  const tooDeep = `devices/device-1${'/x'.repeat(150)}`;
  test.each(['devices/device-2/state', 'devices/+/state', '#', '$SYS/x/new/clients', '$foo/x', tooDeep])(
    '%s',
    async (other) => {
      const broker = await startTestBroker();
      const watcher = await watch(broker);
      const connect = { will: { ...will, topic: other } };
      expect(await broker.connack('device-1', broker.token('device-1'), connect)).toBe(5);
      expect(await broker.refusal({ action: 'connect' })).toMatchObject({ clientId: 'device-1' });
      expect(payloads(await watcher.settle())).toEqual([]);
      await broker.servesOthers();
    },
  );
});

test('a will is judged again when it is published', async () => {
  const broker = await startTestBroker();
  const watcher = await watch(broker);
  const client = await broker.session('device-1', { will });
  const { clients } = broker.aedes as unknown as { clients: Record<string, { will: { topic: string } }> };
  (clients['device-1'] as { will: { topic: string } }).will.topic = 'devices/device-2/state';
  await client.end();
  expect(await broker.refusal({ action: 'will' })).toMatchObject({ reason: 'no_rule', clientId: 'device-1' });
  expect(payloads(await watcher.settle())).toEqual([]);
});

attackOfMemory(
  'wills of a broker that is gone are refused and removed, and end nothing',
  { aedes: { heartbeatInterval: 20 } },
  async (broker) => {
    const watcher = await watch(broker);
    const { persistence } = broker.aedes as unknown as {
      persistence: {
        putWill(client: object, packet: object): Promise<void>;
        getWill(client: object): Promise<object | undefined>;
      };
    };
    const lost = { id: 'lost' };
    await persistence.putWill(lost, publishPacket('devices/lost/state', 'stale'));
    ((await persistence.getWill(lost)) as { brokerId: string }).brokerId = 'a-broker-that-is-gone';
    await broker.refusal({ action: 'will', reason: 'not_authenticated' });
    await until(async () => (await persistence.getWill(lost)) === undefined);
    expect(payloads(await watcher.settle())).toEqual([]);
  },
);

test('an error of the broker is logged and ends nothing', async () => {
  const broker = await startTestBroker();
  (broker.aedes as Aedes & { emit(event: string, error: Error): void }).emit(
    'error',
    new Error('of the host'),
  );
  expect(broker.log()).toContain('internal_error');
  await broker.servesOthers();
});
