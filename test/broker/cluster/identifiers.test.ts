import { expect, test } from 'vitest';
import { messageId, publishPacket, subscribe, until } from '../../support/broker-fixture.ts';
import { admin, messagesOf, startTestCluster } from '../../support/cluster-fixture.ts';

test('a PUBREL of a connection that lost its session is not answered', async () => {
  const cluster = await startTestCluster();
  const link = await cluster.link();
  const [one, other] = [await cluster.start({ via: link }), await cluster.start()];
  const old = await one.session('device-1', { clean: false });
  old.send(publishPacket('devices/device-1/x', 'first', { qos: 2, messageId: 7 }));
  await old.next('pubrec');
  link.hold('bus');
  await other.session('device-1', { clean: false });
  old.send({ cmd: 'pubrel', messageId: 7 });
  await old.closed;
  expect(old.received.some(({ cmd }) => cmd === 'pubcomp')).toBe(false);
});

test('a QoS 2 message that is repeated on another broker is not published again', async () => {
  const cluster = await startTestCluster();
  const [one, other] = [await cluster.start(), await cluster.start()];
  const watcher = await admin(other, 'watcher');
  await subscribe(watcher, ['devices/#']);
  const first = await one.session('device-1', { clean: false });
  const packet = publishPacket('devices/device-1/x', 'once', { qos: 2, messageId: 7 });
  first.send(packet);
  await first.next('pubrec');
  await watcher.next('publish');
  await first.end();
  const again = await other.session('device-1', { clean: false });
  again.send({ ...packet, dup: true });
  await again.next('pubrec');
  again.send({ cmd: 'pubrel', messageId: 7 });
  await again.next('pubcomp');
  // The identifier is free again.
  again.send(publishPacket('devices/device-1/x', 'next', { qos: 2, messageId: 7 }));
  await again.next('pubrec');
  await watcher.next('publish');
  await watcher.settle();
  expect(messagesOf(watcher).map(({ payload }) => payload.toString())).toEqual(['once', 'next']);
});

test('a message under way keeps its packet identifier on another broker, and is marked as sent before', async () => {
  const cluster = await startTestCluster();
  const [one, other] = [await cluster.start(), await cluster.start()];
  const publisher = await admin(one, 'publisher');
  const first = await one.session('device-1', { clean: false });
  await subscribe(first, ['devices/device-1/#']);
  for (const text of ['a', 'b', 'c']) {
    publisher.send(publishPacket('devices/device-1/x', text, { qos: 1 }));
    await first.next('publish');
  }
  const sent = messagesOf(first);
  first.send({ cmd: 'puback', messageId: sent[1]?.messageId as number });
  await first.settle();
  await until(async () => (await cluster.store.hlen(`${cluster.prefix}sent:device-1`)) === 2);
  const again = await other.session('device-1', { clean: false });
  await again.next('publish');
  await again.next('publish');
  expect((await again.settle()).filter(({ cmd }) => cmd === 'publish')).toEqual([]);
  expect(
    messagesOf(again).map(({ payload, messageId, dup }) => ({ text: payload.toString(), messageId, dup })),
  ).toEqual([
    { text: 'a', messageId: sent[0]?.messageId, dup: true },
    { text: 'c', messageId: sent[2]?.messageId, dup: true },
  ]);
  // A new one takes none of theirs.
  publisher.send(publishPacket('devices/device-1/x', 'd', { qos: 1 }));
  await again.next('publish');
  const taken = new Set(messagesOf(again).map(({ messageId }) => messageId));
  expect(taken.size).toBe(3);
});

test('a QoS 2 message that was received is only released on another broker', async () => {
  const cluster = await startTestCluster();
  const [one, other] = [await cluster.start(), await cluster.start()];
  const publisher = await admin(one, 'publisher');
  const first = await one.session('device-1', { clean: false });
  await subscribe(first, ['devices/device-1/#'], 2);
  const id = messageId();
  publisher.send(publishPacket('devices/device-1/x', 'once', { qos: 2, messageId: id }));
  await publisher.next('pubrec');
  await first.next('publish');
  const sent = messagesOf(first)[0]?.messageId as number;
  first.send({ cmd: 'pubrec', messageId: sent });
  await first.next('pubrel');
  const again = await other.session('device-1', { clean: false });
  expect(await again.next('pubrel')).toMatchObject({ messageId: sent });
  again.send({ cmd: 'pubcomp', messageId: sent });
  await again.settle();
  expect(messagesOf(again)).toEqual([]);
  await until(async () => (await cluster.store.exists(`${cluster.prefix}sent:device-1`)) === 0);
});
