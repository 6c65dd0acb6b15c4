import { setTimeout as sleep } from 'node:timers/promises';
import { parsePolicy } from '@fleetgate/broker';
import { describe, expect } from 'vitest';
import {
  attack,
  messageId,
  payloads,
  publishPacket,
  subscribe,
  type TestBroker,
} from '../support/broker-fixture.ts';
import { B } from './victim.ts';

const limits = { maxRetainedMessagesPerClient: 3 };
const deniedPublish = 'drop' as const;
const retain = { qos: 1, retain: true } as const;

/** How many retained messages there are. */
async function count(broker: TestBroker): Promise<number> {
  const { persistence } = broker.aedes as unknown as {
    persistence: { createRetainedStream(filter: string): AsyncIterable<unknown> };
  };
  return (await Array.fromAsync(persistence.createRetainedStream('#'))).length;
}

describe('the limit of retained messages of one client is not passed', () => {
  for (const clientIdBinding of ['prefix', 'none'] as const) {
    attack(
      `under many client ids, bound by ${clientIdBinding}`,
      { clientIdBinding, limits, deniedPublish },
      async (broker) => {
        for (let n = 0; n < 4; n += 1) {
          const client = await broker.session(`${B}.${n}`, { username: B }, broker.token(B));
          for (let k = 0; k < 2; k += 1) {
            client.send(publishPacket(`devices/${B}/${n}/${k}`, 'x', retain));
            await client.next('puback');
          }
        }
        expect(await count(broker)).toBe(3);
        expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'too_many_retained' });
      },
    );
  }

  const publish = [{ topic: `devices/${B}/#`, max_messages_per_second: 20, burst: 1 }];
  const policy = parsePolicy(JSON.stringify({ version: 1, scopes: { slow: { publish } } }), 'policy.yaml');

  attack('by clearings that the rate refuses', { policy, limits, deniedPublish }, async (broker) => {
    const client = await broker.session(B, {}, broker.token(B, { scope: ['slow'] }));
    for (let n = 0; n < 6; n += 1) {
      const topic = `devices/${B}/${n}`;
      // In one go: only the first is within the rate.
      client.send(publishPacket(topic, 'x', retain), publishPacket(topic, '', retain));
      for (let k = 0; k < 2; k += 1) await client.next('puback');
      await sleep(100);
    }
    expect(await count(broker)).toBe(3);
    expect(await broker.refusal({ reason: 'too_many_retained' })).toMatchObject({ action: 'publish' });
  });

  attack('by clearings that repeat the identifier of a QoS 2 message', { limits }, async (broker) => {
    const client = await broker.session(B);
    for (let n = 0; n < 4; n += 1) {
      const id = messageId();
      const packet = (payload: string) =>
        publishPacket(`devices/${B}/${n}`, payload, { qos: 2, retain: true, messageId: id });
      client.send(packet('x'));
      if (n === 3) break;
      await client.next('pubrec');
      client.send(packet(''));
      await client.next('pubrec');
      client.send({ cmd: 'pubrel', messageId: id });
      await client.next('pubcomp');
    }
    await client.closed;
    expect(await count(broker)).toBe(3);
    expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'too_many_retained' });
  });

  attack('by clearings that are still on their way', { limits, deniedPublish }, async (broker) => {
    const client = await broker.session(B);
    for (let n = 0; n < 10; n += 1) {
      client.send(
        publishPacket(`devices/${B}/${n}`, '', retain),
        publishPacket(`devices/${B}/${n}`, 'x', retain),
      );
    }
    for (let n = 0; n < 20; n += 1) await client.next('puback');
    expect(await count(broker)).toBe(3);
  });

  attack('by clearings in each segment', { limits, deniedPublish }, async (broker) => {
    const client = await broker.session(B);
    for (let n = 0; n < 10; n += 1) {
      client.send(
        publishPacket(`devices/${B}/${n}`, '', retain),
        publishPacket(`devices/${B}/${n}`, 'x', retain),
      );
      for (let k = 0; k < 2; k += 1) await client.next('puback');
    }
    expect(await count(broker)).toBe(3);
    expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'too_many_retained' });
  });

  for (const qos of [1, 2] as const) {
    attack(`by clearings that overtake messages of QoS ${qos}`, { limits, deniedPublish }, async (broker) => {
      const client = await broker.session(B);
      for (let n = 0; n < 10; n += 1) {
        client.send(
          publishPacket(`devices/${B}/${n}`, 'x', { qos, retain: true }),
          publishPacket(`devices/${B}/${n}`, '', { qos: 0, retain: true }),
        );
        await client.next(qos === 1 ? 'puback' : 'pubrec');
      }
      expect(await count(broker)).toBeLessThanOrEqual(3);
      expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'too_many_retained' });
    });
  }

  attack('by clearings of one in the place of many under way', { limits, deniedPublish }, async (broker) => {
    const client = await broker.session(B);
    const topics = Array.from({ length: 12 }, (_, n) => `devices/${B}/${n}`);
    client.send(
      ...topics.flatMap((topic) => [
        publishPacket(topic, 'x', retain),
        publishPacket(topic, '', { qos: 0, retain: true }),
      ]),
    );
    for (const _ of topics) await client.next('puback');
    expect(await count(broker)).toBeLessThanOrEqual(3);
    expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'too_many_retained' });
  });

  attack('by a will', { limits, clientIdBinding: 'prefix' }, async (broker) => {
    for (let n = 0; n < 5; n += 1) {
      const will = { topic: `devices/${B}/${n}`, payload: Buffer.from('x'), qos: 1 as const, retain: true };
      const client = await broker.session(`${B}.${n}`, { username: B, will }, broker.token(B));
      await client.end();
    }
    expect(await broker.refusal({ action: 'will' })).toMatchObject({ reason: 'too_many_retained' });
    expect(await count(broker)).toBe(3);
  });
});

describe('the bytes of retained messages of one client are bounded', () => {
  const bytes = { limits: { maxRetainedBytesPerClient: 1_000 }, deniedPublish };
  const topic = (n: number) => `devices/${B}/${n}`;
  const of = (length: number) => 'x'.repeat(length);
  const accepted = async (broker: TestBroker, act: () => Promise<unknown>): Promise<boolean> => {
    const before = broker.refusals.length;
    await act();
    return broker.refusals.length === before;
  };

  attack('of few large ones, and of larger ones in their place', bytes, async (broker) => {
    const client = await broker.session(B);
    const publish = (n: number, length: number) =>
      accepted(broker, () => {
        client.send(publishPacket(topic(n), of(length), retain));
        return client.next('puback');
      });
    expect(await publish(0, 500)).toBe(true);
    expect(await publish(1, 500)).toBe(false);
    expect(await publish(1, 400)).toBe(true);
    expect(await publish(0, 600)).toBe(false);
    expect(await publish(0, 500)).toBe(true);
    expect(await publish(0, 100)).toBe(true);
    expect(await publish(2, 300)).toBe(true);
    expect(await publish(2, 0)).toBe(true);
    expect(await publish(1, 700)).toBe(true);
    expect(await publish(2, 1_000)).toBe(false);
    expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'too_many_retained' });
    expect(await count(broker)).toBe(2);
  });

  attack('whatever repeats the identifier of a QoS 2 message', bytes, async (broker) => {
    const client = await broker.session(B);
    const publish = async (n: number) => {
      const id = messageId();
      for (const payload of [of(400), 'x']) {
        client.send(publishPacket(topic(n), payload, { qos: 2, retain: true, messageId: id }));
        await client.next('pubrec');
      }
      client.send({ cmd: 'pubrel', messageId: id });
      await client.next('pubcomp');
    };
    for (const n of [0, 1]) expect(await accepted(broker, () => publish(n))).toBe(true);
    expect(await accepted(broker, () => publish(2))).toBe(false);
  });
});

attack('a client takes no place of another by publishing where both may', { limits }, async (broker) => {
  const scope = ['mqtt:publish:shared/#', 'mqtt:subscribe:shared/#'];
  const [one, other] = [
    await broker.session('one', {}, broker.token('one', { scope })),
    await broker.session('other', {}, broker.token('other', { scope })),
  ];
  for (let n = 0; n < 3; n += 1) {
    one.send(publishPacket(`shared/${n}`, 'of one', retain));
    await one.next('puback');
    other.send(publishPacket(`shared/${n}`, 'of the other', retain));
    await other.next('puback');
  }
  one.send(publishPacket('shared/one', 'has room', retain));
  await one.next('puback');
  other.send(publishPacket('shared/other', 'has none', retain));
  await other.closed;
  await subscribe(one, ['shared/other', 'shared/one']);
  expect(payloads([await one.next('publish'), ...(await one.settle())])).toEqual(['has room']);
});
