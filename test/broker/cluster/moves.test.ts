import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { messageId, payloads, publishPacket, subscribe, until } from '../../support/broker-fixture.ts';
import { connackOf, connectPacket } from '../../support/broker-raw-client.ts';
import { testIssuer } from '../../support/broker-tokens.ts';
import {
  admin,
  messagesOf,
  numbered,
  publishAll,
  publishAtOnce,
  startTestCluster,
  take,
} from '../../support/cluster-fixture.ts';

test('more than a thousand queued messages arrive on another broker, each once and in order', async () => {
  const cluster = await startTestCluster();
  const limits = { maxQueuedMessagesPerClient: 5_000 };
  const [one, other] = [await cluster.start({ limits }), await cluster.start({ limits })];
  const first = await one.session('device-1', { clean: false });
  await subscribe(first, ['devices/device-1/#']);
  await first.end();
  const publisher = await admin(one, 'publisher');
  const texts = numbered(2_500);
  for (let from = 0; from < texts.length; from += 250) {
    await publishAtOnce(publisher, 'devices/device-1/x', texts.slice(from, from + 250));
  }
  const again = await other.session('device-1', { clean: false });
  expect(await take(again, texts.length)).toEqual(texts);
  expect(payloads(await again.settle())).toEqual([]);
  await until(async () => (await cluster.store.exists(`${cluster.prefix}queue:device-1`)) === 0);
  expect(await cluster.store.hexists(`${cluster.prefix}queued`, 'device-1')).toBe(0);
});

test('messages that come while the queue is read arrive once each', async () => {
  const cluster = await startTestCluster();
  const [one, other] = [await cluster.start(), await cluster.start()];
  const first = await one.session('device-1', { clean: false });
  await subscribe(first, ['devices/device-1/#']);
  await first.end();
  const publishers = [await admin(one, 'publisher-1'), await admin(other, 'publisher-2')];
  await publishAtOnce(publishers[0] as never, 'devices/device-1/x', numbered(500));
  const coming = Promise.all(
    publishers.map((publisher, n) =>
      publishAll(publisher, 'devices/device-1/x', numbered(200, 500 + 200 * n)),
    ),
  );
  const again = await other.session('device-1', { clean: false });
  const got = await take(again, 900);
  await coming;
  expect(payloads(await again.settle())).toEqual([]);
  expect([...got].sort()).toEqual(numbered(900).sort());
  const queued = got.filter((text) => Number(text) < 500);
  expect(queued).toEqual(numbered(500));
  await until(async () => (await cluster.store.exists(`${cluster.prefix}queue:device-1`)) === 0);
});

describe('a message that is published while the queue is read', () => {
  async function reading() {
    const cluster = await startTestCluster();
    const link = await cluster.link();
    const [other, one] = [await cluster.start(), await cluster.start({ via: link })];
    const first = await other.session('device-1', { clean: false });
    await subscribe(first, ['devices/device-1/#']);
    await first.end();
    const publisher = await admin(other, 'publisher');
    await publishAtOnce(publisher, 'devices/device-1/x', numbered(500));
    const again = await one.session('device-1', { clean: false });
    await again.next('publish');
    link.hold('commands');
    return { cluster, link, publisher, again };
  }

  test('and comes from the queue first is not sent once more from the bus', async () => {
    const { link, publisher, again } = await reading();
    link.hold('bus');
    await publishAll(publisher, 'devices/device-1/x', ['late']);
    link.release('commands');
    while (payloads(again.received).at(-1) !== 'late') await again.next('publish');
    link.release('bus');
    await publishAll(publisher, 'devices/device-1/x', ['last']);
    while (payloads(again.received).at(-1) !== 'last') await again.next('publish');
    expect(payloads(again.received)).toEqual([...numbered(500), 'late', 'last']);
  });

  test('and comes over the bus first is not sent once more from the queue', async () => {
    const { cluster, link, publisher, again } = await reading();
    await again.settle();
    expect(payloads(again.received).length).toBeLessThan(500);
    await publishAll(publisher, 'devices/device-1/x', ['late']);
    // The next on that bus is behind it.
    await until(async () => (await cluster.store.xlen(`${cluster.prefix}queue:device-1`)) === 501);
    await again.settle();
    link.release('commands');
    while (payloads(again.received).length < 501) await again.next('publish');
    await publishAll(publisher, 'devices/device-1/x', ['last']);
    while (payloads(again.received).at(-1) !== 'last') await again.next('publish');
    const got = payloads(again.received);
    expect(got.filter((text) => text === 'late')).toHaveLength(1);
    expect(got).toHaveLength(502);
  });
});

test('what was acknowledged on one broker is not delivered on another whose bus lags', async () => {
  const cluster = await startTestCluster();
  const link = await cluster.link();
  const [one, behind] = [await cluster.start(), await cluster.start({ via: link })];
  const publisher = await admin(one, 'publisher');
  const first = await one.session('device-1', { clean: false });
  await subscribe(first, ['devices/device-1/#']);
  // What it knows of is what comes behind its own claim, which it waits for.
  link.hold('bus');
  await publishAll(publisher, 'devices/device-1/x', ['a', 'b']);
  expect(await take(first, 2)).toEqual(['a', 'b']);
  await until(async () => (await cluster.store.exists(`${cluster.prefix}queue:device-1`)) === 0);
  const again = await behind.raw();
  again.send(connectPacket('device-1', behind.token('device-1'), { clean: false }));
  await first.closed;
  link.release('bus');
  expect(await again.next()).toMatchObject({ cmd: 'connack', returnCode: 0, sessionPresent: true });
  expect(payloads(await again.settle())).toEqual([]);
  await publishAll(publisher, 'devices/device-1/x', ['c']);
  expect(await take(again, 1)).toEqual(['c']);
});

test('of one client id that connects on two brokers at once exactly one is left', async () => {
  const cluster = await startTestCluster();
  const brokers = [await cluster.start(), await cluster.start()];
  for (let round = 0; round < 20; round += 1) {
    const clients = await Promise.all(brokers.map((broker) => broker.raw()));
    const connect = connectPacket('device-1', brokers[0]?.token('device-1'), { clean: round % 2 === 0 });
    await Promise.all(clients.map((client) => connackOf(client, connect)));
    await until(() => clients.filter(({ stream }) => !stream.destroyed).length === 1);
    const [left] = clients.filter(({ stream }) => !stream.destroyed);
    expect(await subscribe(left as never, ['devices/device-1/#'])).toEqual([1]);
    await left?.end();
    await until(async () => (await cluster.store.hexists(`${cluster.prefix}live`, 'device-1')) === 0);
  }
});

test('a session is judged again under the narrower grants of the new token, on whichever broker', async () => {
  const cluster = await startTestCluster();
  const [one, other] = [await cluster.start(), await cluster.start()];
  const publisher = await admin(one, 'publisher');
  const wide = one.token('device-1', { scope: ['mqtt:subscribe:devices/#'] });
  const first = await one.session('device-1', { clean: false }, wide);
  await subscribe(first, ['devices/+/a', 'devices/device-1/#']);
  await first.end();
  await publishAll(publisher, 'devices/device-2/a', ['foreign']);
  await publishAll(publisher, 'devices/device-1/a', ['own']);
  const again = await other.session('device-1', { clean: false });
  expect(await take(again, 1)).toEqual(['own']);
  await publishAll(publisher, 'devices/device-2/a', ['foreign']);
  expect(payloads(await again.settle())).toEqual([]);
  expect(await cluster.store.hkeys(`${cluster.prefix}subs:device-1`)).toEqual(['devices/device-1/#']);
  // What it may not receive leaves the queue, and nothing else did.
  await until(async () => (await cluster.store.exists(`${cluster.prefix}queue:device-1`)) === 0);
});

test('a message that may not be received leaves the queue, and no other does', async () => {
  const cluster = await startTestCluster();
  const [one, other] = [await cluster.start(), await cluster.start()];
  const publisher = await admin(one, 'publisher');
  const scope = ['mqtt:subscribe:devices/#', 'mqtt:publish:devices/device-1/#'];
  const first = await one.session('device-1', { clean: false }, one.token('device-1', { scope }));
  await subscribe(first, ['devices/#']);
  await first.end();
  for (const text of numbered(30)) {
    await publishAll(publisher, `devices/device-${(Number(text) % 3) + 1}/a`, [text]);
  }
  expect(await cluster.store.xlen(`${cluster.prefix}queue:device-1`)).toBe(30);
  const narrow = ['mqtt:subscribe:devices/device-1/#', 'mqtt:subscribe:devices/device-3/#'];
  const again = await other.session('device-1', { clean: false }, other.token('device-1', { scope: narrow }));
  const wanted = numbered(30).filter((text) => Number(text) % 3 !== 1);
  expect(await take(again, wanted.length)).toEqual(wanted);
  expect(payloads(await again.settle())).toEqual([]);
  await until(async () => (await cluster.store.exists(`${cluster.prefix}queue:device-1`)) === 0);
});

describe('a connection whose session another broker took, before it is told', () => {
  async function moved() {
    const cluster = await startTestCluster();
    const link = await cluster.link();
    const [behind, other] = [await cluster.start({ via: link }), await cluster.start()];
    const publisher = await admin(other, 'publisher');
    const watcher = await admin(other, 'watcher');
    await subscribe(watcher, ['devices/device-1/out']);
    const old = await behind.session('device-1', { clean: false });
    await subscribe(old, ['devices/device-1/in']);
    await publishAll(publisher, 'devices/device-1/in', ['kept']);
    const { messageId: id } = (await old.next('publish')) as IPublishPacket;
    link.hold('bus');
    const next = await other.session('device-1', { clean: false });
    return { cluster, behind, other, watcher, old, next, id: id as number };
  }

  test('acknowledges nothing', async () => {
    const { cluster, old, next, id, watcher } = await moved();
    old.send({ cmd: 'puback', messageId: id });
    await old.settle();
    expect(await cluster.store.xlen(`${cluster.prefix}queue:device-1`)).toBe(1);
    expect(await next.next('publish')).toMatchObject({ messageId: id, dup: true });
    expect(payloads(await watcher.settle())).toEqual([]);
  });

  test('subscribes to nothing, and is closed', async () => {
    const { cluster, old } = await moved();
    old.send({
      cmd: 'subscribe',
      messageId: messageId(),
      subscriptions: [{ topic: 'devices/device-1/more', qos: 1 }],
    });
    await old.closed;
    expect(old.received.at(-1)?.cmd).not.toBe('suback');
    expect(await cluster.store.hkeys(`${cluster.prefix}subs:device-1`)).toEqual(['devices/device-1/in']);
  });

  test('gives up no subscription, and is closed', async () => {
    const { cluster, old } = await moved();
    old.send({ cmd: 'unsubscribe', messageId: messageId(), unsubscriptions: ['devices/device-1/in'] });
    await old.closed;
    expect(await cluster.store.hkeys(`${cluster.prefix}subs:device-1`)).toEqual(['devices/device-1/in']);
  });

  test.each([0, 1, 2] as const)('publishes nothing at QoS %i, and is closed', async (qos) => {
    const { behind, old, watcher } = await moved();
    old.send(publishPacket('devices/device-1/out', 'forged', { qos }));
    await old.closed;
    expect(old.received.some(({ cmd }) => cmd === 'puback' || cmd === 'pubrec')).toBe(false);
    expect(await behind.refusal({ reason: 'session_moved' })).toMatchObject({ clientId: 'device-1' });
    expect(payloads(await watcher.settle())).toEqual([]);
  });

  test('ends without ending the session', async () => {
    const { cluster, old, next } = await moved();
    old.send({ cmd: 'disconnect' });
    await old.closed;
    expect(await cluster.store.hexists(`${cluster.prefix}live`, 'device-1')).toBe(1);
    expect(await subscribe(next, ['devices/device-1/more'])).toEqual([1]);
  });

  test('a broker that was taken for dead publishes for nobody, and joins again', async () => {
    const cluster = await startTestCluster({ frozenAfterSeconds: 1, deadAfterSeconds: 2 });
    const [stopped, other] = [await cluster.start(), await cluster.start()];
    const watcher = await admin(other, 'watcher');
    await subscribe(watcher, ['devices/#']);
    const old = await stopped.session('device-1', { clean: false });
    const owner = (await cluster.store.hget(`${cluster.prefix}live`, 'device-1')) as string;
    const id = owner.slice(0, owner.lastIndexOf(':'));
    await cluster.store.bury(cluster.prefix, id, 'another', 30);
    await cluster.store.buried(cluster.prefix, id);
    old.send(publishPacket('devices/device-1/x', 'forged', { qos: 1 }));
    await old.closed;
    expect(await stopped.refusal({ reason: 'session_moved' })).toMatchObject({ clientId: 'device-1' });
    // By itself, before anybody asks.
    await until(async () => (await cluster.store.zcard(`${cluster.prefix}brokers`)) === 2);
    await until(async () => (await stopped.connack('device-2', stopped.token('device-2'))) === 0);
    expect(payloads(await watcher.settle())).toEqual([]);
    expect(await cluster.store.zscore(`${cluster.prefix}brokers`, id)).toBeNull();
  });
});

test('a session is not taken by whoever finds a broker that has not heard of it yet', async () => {
  const cluster = await startTestCluster();
  const foreign = testIssuer('https://other.example');
  const link = await cluster.link();
  const options = { otherIssuers: [foreign] };
  const [one, behind] = [await cluster.start(options), await cluster.start({ ...options, via: link })];
  link.hold('bus');
  const owner = await one.session('device-1', { clean: false });
  await subscribe(owner, ['devices/device-1/#']);
  await owner.end();
  await until(async () => (await cluster.store.hexists(`${cluster.prefix}live`, 'device-1')) === 0);
  const thief = foreign.token({ clientId: 'device-1' });
  for (const clean of [true, false]) expect(await behind.connack('device-1', thief, { clean })).toBe(2);
  expect(await cluster.store.hkeys(`${cluster.prefix}subs:device-1`)).toEqual(['devices/device-1/#']);
});

describe.each(['prefix', 'none'] as const)('with client ids bound by %s', (clientIdBinding) => {
  test.each([true, false])(
    'nobody takes or wipes a session that another broker has, clean %s',
    async (clean) => {
      const cluster = await startTestCluster();
      const foreign = testIssuer('https://other.example');
      const options = { clientIdBinding, otherIssuers: [foreign] };
      const [one, other] = [await cluster.start(options), await cluster.start(options)];
      const owner = await one.session('fleet.1', { clean: false, username: '' }, one.token('fleet'));
      expect(await subscribe(owner, ['devices/fleet/#'])).toEqual([1]);
      const passing = await one.session('fleet.2', { clean: true, username: '' }, one.token('fleet'));
      const thief = foreign.token({ clientId: 'fleet', scope: ['mqtt:subscribe:#', 'mqtt:publish:#'] });
      const stranger = other.token('fleet.1');
      for (const id of ['fleet.1', 'fleet.2']) {
        for (const token of [thief, ...(id === 'fleet.1' ? [stranger] : [])]) {
          expect(await other.connack(id, token, { clean, username: '' })).toBe(2);
          expect(await one.connack(id, token, { clean, username: '' })).toBe(2);
        }
      }
      expect(payloads(await owner.settle())).toEqual([]);
      expect(payloads(await passing.settle())).toEqual([]);
      await owner.end();
      await until(async () => (await cluster.store.hexists(`${cluster.prefix}live`, 'fleet.1')) === 0);
      // Also of one that is not connected.
      expect(await other.connack('fleet.1', thief, { clean, username: '' })).toBe(2);
      const publisher = await admin(one, 'publisher');
      await publishAll(publisher, 'devices/fleet/x', ['kept']);
      const again = await other.session('fleet.1', { clean: false, username: '' }, other.token('fleet'));
      expect(await take(again, 1)).toEqual(['kept']);
      expect(messagesOf(again)).toHaveLength(1);
    },
  );
});
