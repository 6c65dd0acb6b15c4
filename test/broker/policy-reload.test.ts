import { parsePolicy } from '@fleetgate/broker';
import type { IPublishPacket } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { payloads, publishPacket, startTestBroker, subscribe, until } from '../support/broker-fixture.ts';
import { connectPacket } from '../support/broker-raw-client.ts';

const policy = (scopes: object) => parsePolicy(JSON.stringify({ version: 1, scopes }), 'policy.yaml');
const wide = policy({ s: { publish: ['a/#', 'b/#'], subscribe: ['a/#', 'b/#'] } });
const narrow = policy({ s: { publish: ['a/#'], subscribe: ['a/#'] } });

test.each([true, false])(
  'sessions follow another policy in place, without a reconnect (clean %s)',
  async (clean) => {
    const broker = await startTestBroker({ policy: wide });
    const publisher = await broker.session(
      'publisher',
      {},
      broker.token('publisher', { scope: ['mqtt:publish:#'] }),
    );
    const client = await broker.session('device-1', { clean }, broker.token('device-1', { scope: ['s'] }));
    await subscribe(client, ['a/#', 'b/#', '$fleetgate/session']);
    await broker.auth.setPolicy(narrow);
    for (const topic of ['b/x', 'a/x']) {
      publisher.send(publishPacket(topic, topic, { qos: 1 }));
      await publisher.next('puback');
    }
    await until(() => payloads(client.received).includes('a/x'));
    await client.settle();
    expect(payloads(client.received)).not.toContain('b/x');
    const told = client.received.filter(
      (packet): packet is IPublishPacket => packet.cmd === 'publish' && packet.topic === '$fleetgate/session',
    );
    expect(JSON.parse(told.at(-1)?.payload.toString() ?? '')).toMatchObject({
      event: 'session',
      grants: { publish: ['a/#'], subscribe: ['a/#'] },
    });
    await broker.auth.setPolicy(wide);
    expect(await subscribe(client, ['b/#'])).toEqual([1]);
    client.send(publishPacket('b/x', 'granted again', { qos: 1 }));
    await client.next('puback');
  },
);

test('a publish that the new policy refuses is refused', async () => {
  const broker = await startTestBroker({ policy: wide });
  const client = await broker.session('device-1', {}, broker.token('device-1', { scope: ['s'] }));
  await broker.auth.setPolicy(narrow);
  client.send(publishPacket('b/x', 'x'));
  await client.closed;
  expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'no_rule' });
});

test('without a policy only direct scopes grant', async () => {
  const broker = await startTestBroker({ policy: wide });
  const scope = ['s', 'mqtt:subscribe:c/#'];
  const client = await broker.session('device-1', {}, broker.token('device-1', { scope }));
  await subscribe(client, ['a/#', 'c/#']);
  await broker.auth.setPolicy(undefined);
  expect(await subscribe(client, ['a/#', 'c/#'])).toEqual([128, 1]);
});

test('a CONNECT that waits in line while the policy changes enters under the new one', async () => {
  const broker = await startTestBroker({ policy: wide });
  const token = broker.token('device-1', { scope: ['s'] });
  const { persistence } = broker.aedes as unknown as {
    persistence: { subscriptionsByClient(client: object): Promise<unknown[]> };
  };
  const load = persistence.subscriptionsByClient;
  const door = Promise.withResolvers<void>();
  let isHeld = false;
  persistence.subscriptionsByClient = async (client) => {
    isHeld = true;
    await door.promise;
    return load.call(persistence, client);
  };
  // The first holds the place in line; the second is verified and waits behind it.
  const first = broker.connack('device-1', token, { clean: false });
  await until(() => isHeld);
  const second = await broker.raw();
  second.send(connectPacket('device-1', token));
  for (let i = 0; i < 20; i += 1) expect(await broker.connack(`other-${i}`, 'x.y.z')).toBe(4);
  await broker.auth.setPolicy(narrow);
  persistence.subscriptionsByClient = load;
  door.resolve();
  await first;
  expect(await second.next('connack')).toMatchObject({ returnCode: 0 });
  expect(await subscribe(second, ['a/#', 'b/#'])).toEqual([1, 0x80]);
});
