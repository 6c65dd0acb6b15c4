import { parsePolicy } from '@fleetgate/broker';
import type { IPublishPacket } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { payloads, publishPacket, startTestBroker, subscribe, until } from '../support/broker-fixture.ts';

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
