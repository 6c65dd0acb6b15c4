import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { encodeMessage } from '../../../broker/cluster/wire.ts';
import { messageId, publishPacket, subscribe } from '../../support/broker-fixture.ts';
import { connectPacket } from '../../support/broker-raw-client.ts';
import { admin, startTestCluster } from '../../support/cluster-fixture.ts';

describe('a message that no broker can deliver', () => {
  const deep = `devices/device-1${'/x'.repeat(150)}`;

  test('as a will harms none of them', async () => {
    const cluster = await startTestCluster();
    const [one, other] = [await cluster.start(), await cluster.start()];
    const client = await one.raw();
    const will = { topic: deep, payload: Buffer.from('gone'), qos: 1 as const, retain: false };
    client.send(connectPacket('device-1', one.token('device-1'), { will }));
    await client.next();
    await client.end();
    await one.servesOthers();
    await other.servesOthers();
  });

  test('on the bus harms none of them', async () => {
    const cluster = await startTestCluster();
    const broker = await cluster.start();
    for (const text of ['', ' ', 'x', '1 ', '1 z', '1 s{', `${'9'.repeat(400)} m`, '{"a":1}']) {
      await cluster.store.publish(`${cluster.prefix}bus`, text);
    }
    const seq = await cluster.store.incr(`${cluster.prefix}seq`);
    const message = encodeMessage(deep, Buffer.from('x'), 1, false);
    await cluster.store.publish(`${cluster.prefix}bus`, Buffer.concat([Buffer.from(`${seq} m`), message]));
    await broker.servesOthers();
    expect(broker.log()).toContain('"error":"Error"');
  });
});

test('packet identifiers that are never completed end the session, and not the broker', async () => {
  const cluster = await startTestCluster();
  const broker = await cluster.start({ limits: { maxQueuedMessagesPerClient: 20 } });
  const other = await admin(broker, 'other');
  const client = await broker.session('device-1', { clean: false });
  await subscribe(client, ['devices/device-1/x'], 2);
  let ended = false;
  void client.closed.then(() => {
    ended = true;
  });
  for (let sent = 0; sent < 1_000 && !ended; sent += 1) {
    const id = messageId();
    other.send(publishPacket('devices/device-1/x', `${sent}`, { qos: 2, messageId: id }));
    await other.next('pubrec');
    other.send({ cmd: 'pubrel', messageId: id });
    await other.next('pubcomp');
    const got = await client.next('publish').catch(() => undefined);
    if (got !== undefined)
      client.send({ cmd: 'pubrec', messageId: (got as IPublishPacket).messageId as number });
    if (got !== undefined) await client.next('pubrel').catch(() => undefined);
  }
  expect(ended).toBe(true);
  expect(await broker.refusal({ action: 'session', reason: 'queue_full' })).toMatchObject({
    clientId: 'device-1',
  });
});
