import { expect, test } from 'vitest';
import { payloads, subscribe, type TestBroker, until } from '../../support/broker-fixture.ts';
import type { RawClient } from '../../support/broker-raw-client.ts';
import { admin, startTestCluster, type TestCluster } from '../../support/cluster-fixture.ts';

const topic = 'devices/device-1/state';
const will = { topic, payload: Buffer.from('gone'), qos: 1 as const, retain: false };

const patience = { frozenAfterSeconds: 0.5, deadAfterSeconds: 1 };

async function watch(broker: TestBroker): Promise<RawClient> {
  const watcher = await admin(broker, 'watcher');
  await subscribe(watcher, ['devices/#']);
  return watcher;
}

const brokersOf = ({ store, prefix }: TestCluster) => store.zrange(`${prefix}brokers`, '0', '-1');

/** Brokers that stay, and one that loses its Redis for good when it `dies`, which is the same to all others. */
async function startWithOneToDie(stay: number) {
  const cluster = await startTestCluster(patience);
  const others = await Promise.all(Array.from({ length: stay }, () => cluster.start()));
  const alive = await brokersOf(cluster);
  const link = await cluster.link();
  const dying = await cluster.start({ via: link });
  const dead = (await brokersOf(cluster)).find((id) => !alive.includes(id)) as string;
  const [other] = others as [TestBroker];
  return {
    cluster,
    other,
    dying,
    dead,
    watcher: await watch(other),
    dies: () => link.cut(),
    isBuried: async () => !(await brokersOf(cluster)).includes(dead),
  };
}

test('the will of a broker that died is published once, by whichever of the others', async () => {
  const { cluster, dying, dead, watcher, dies, isBuried } = await startWithOneToDie(3);
  for (let n = 0; n < 20; n += 1) {
    const own = { ...will, topic: `devices/device-${n}/state` };
    await dying.session(`device-${n}`, { will: own });
  }
  dies();
  await until(isBuried);
  await until(() => payloads(watcher.received).length >= 20);
  expect(payloads(await watcher.settle())).toHaveLength(20);
  expect((await cluster.keys()).filter((key) => key.includes(dead))).toEqual([]);
});

test('the will of a broker that died is judged by the grants of its owner, under the policy of the other', async () => {
  const { cluster, other, dying, dead, watcher, dies, isBuried } = await startWithOneToDie(1);
  await dying.session('device-1', { will });
  const stored = JSON.parse((await cluster.store.hget(`${cluster.prefix}wills:${dead}`, 'device-1')) ?? '');
  const forged = { ...stored, topic: 'devices/device-2/state' };
  await cluster.store.hset(`${cluster.prefix}wills:${dead}`, 'device-1', JSON.stringify(forged));
  dies();
  expect(await other.refusal({ action: 'will' })).toMatchObject({ clientId: 'device-1', reason: 'no_rule' });
  await until(isBuried);
  expect(payloads(await watcher.settle())).toEqual([]);
});

test('there is no will of a device that is back on another broker before its own is taken for dead', async () => {
  const { other, dying, watcher, dies, isBuried } = await startWithOneToDie(1);
  await dying.session('device-1', { will });
  dies();
  await other.session('device-1');
  await until(isBuried);
  expect(payloads(await watcher.settle())).toEqual([]);
});

test('there is no will of a device that is back when a burial that was begun is finished by another', async () => {
  const { cluster, other, dying, dead, watcher, dies, isBuried } = await startWithOneToDie(1);
  await dying.session('device-1', { will });
  await dying.session('device-2', { will: { ...will, topic: 'devices/device-2/state' } });
  dies();
  // One that began and died itself: others wait for two seconds.
  const wills = (await cluster.store.bury(cluster.prefix, dead, 'died-too', 2)) as string[];
  expect(wills).toHaveLength(4);
  await other.session('device-1');
  await until(isBuried);
  expect(payloads(await watcher.settle())).toHaveLength(1);
  expect(watcher.received.at(-2)).toMatchObject({ topic: 'devices/device-2/state' });
});

test('a will that cannot be read does not stand before the others', async () => {
  const { cluster, dying, dead, watcher, dies } = await startWithOneToDie(1);
  for (let n = 0; n < 20; n += 1)
    await cluster.store.hset(`${cluster.prefix}wills:${dead}`, `broken-${n}`, '{');
  await dying.session('device-1', { will });
  dies();
  expect(payloads([await watcher.next('publish')])).toEqual(['gone']);
});

test('of two that bury one broker at once only one publishes', async () => {
  const { cluster, dying, dead, watcher, dies, isBuried } = await startWithOneToDie(2);
  await dying.session('device-1', { will });
  dies();
  // Nobody holds the burial back: the time for it is over before it has begun.
  const key = `${cluster.prefix}burying:${dead}`;
  while (!(await isBuried())) await cluster.store.del(key);
  expect(payloads([await watcher.next('publish'), ...(await watcher.settle())])).toEqual(['gone']);
});
