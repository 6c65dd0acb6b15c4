import { parsePolicy } from '@fleetgate/broker';
import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { warningLeadSeconds } from '../../broker/expiry.ts';
import {
  attack,
  messageId,
  ownScope,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
  until,
} from '../support/broker-fixture.ts';
import { connectPacket, type RawClient } from '../support/broker-raw-client.ts';
import { testIssuer } from '../support/broker-tokens.ts';

const tokenTopic = '$fleetgate/token';
const sessionTopic = '$fleetgate/session';

/** Publishes a token at QoS 1 and waits until it is acknowledged. */
async function renew(client: RawClient, token: string, more: Partial<IPublishPacket> = {}): Promise<void> {
  client.send(publishPacket(tokenTopic, token, { qos: 1, ...more }));
  await client.next('puback');
}

/** What the client was told of its session so far. */
function told(client: RawClient): Record<string, unknown>[] {
  return client.received
    .filter((packet): packet is IPublishPacket => packet.cmd === 'publish' && packet.topic === sessionTopic)
    .map(({ payload }) => JSON.parse(payload.toString()));
}

async function lastTold(client: RawClient): Promise<Record<string, unknown> | undefined> {
  await client.settle();
  return told(client).at(-1);
}

const expiryOf = (token: string): number =>
  JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()).exp;

describe('a session is told of itself', () => {
  test('on subscribing: when it expires and its grants as concrete filters', async () => {
    const policy = parsePolicy(
      `version: 1
scopes:
  telemetry: { publish: [ 'devices/{client_id}/telemetry/#' ], subscribe: [ 'devices/{client_id}/in/#' ] }
`,
      'policy.yaml',
    );
    const broker = await startTestBroker({ policy });
    const token = broker.token('device-1', { scope: ['telemetry', 'mqtt:publish:a/b'] });
    const client = await broker.session('device-1', {}, token);
    expect(await subscribe(client, [sessionTopic])).toEqual([1]);
    expect(await lastTold(client)).toEqual({
      event: 'session',
      expires_at: expiryOf(token),
      grants: { publish: ['devices/device-1/telemetry/#', 'a/b'], subscribe: ['devices/device-1/in/#'] },
    });
    expect(client.received.filter(({ cmd }) => cmd === 'publish')).toHaveLength(1);
  });

  test('ahead of its expiry, by a tenth of the lifetime and at most a minute', async () => {
    const lead = (seconds: number) => warningLeadSeconds({ issuedAtSeconds: 0, expiresAtSeconds: seconds });
    expect([lead(10), lead(300), lead(900), lead(86_400)]).toEqual([1, 30, 60, 60]);
    let aheadMs = 0;
    const broker = await startTestBroker({ now: () => Date.now() + aheadMs });
    const token = broker.token('device-1', { expiresInSeconds: 100 });
    const client = await broker.session('device-1', {}, token);
    await subscribe(client, [sessionTopic]);
    aheadMs = 91_000;
    await until(() => told(client).length === 2);
    expect(told(client).at(-1)).toEqual({ event: 'expiring', expires_at: expiryOf(token) });
    aheadMs = 106_000;
    await client.closed;
  });

  test('and nobody else is', async () => {
    const broker = await startTestBroker();
    const other = await broker.session('device-2');
    await subscribe(other, [sessionTopic]);
    const before = told(other).length;
    const client = await broker.session('device-1');
    await subscribe(client, [sessionTopic]);
    await renew(client, broker.token('device-1'));
    await other.settle();
    expect(told(other)).toHaveLength(before === 0 ? 1 : before);
    expect(told(other).every(({ event }) => event === 'session')).toBe(true);
  });

  test('not when it has not subscribed', async () => {
    const broker = await startTestBroker();
    const client = await broker.session('device-1');
    await renew(client, broker.token('device-1'));
    expect(payloads(await client.settle())).toEqual([]);
  });
});

describe('renewal in place', () => {
  test('the session outlives its first token and ends with the second', async () => {
    let aheadMs = 0;
    const broker = await startTestBroker({ now: () => Date.now() + aheadMs });
    const client = await broker.session('device-1', {}, broker.token('device-1', { expiresInSeconds: 60 }));
    await subscribe(client, [sessionTopic, 'devices/device-1/#']);
    const next = broker.token('device-1', { expiresInSeconds: 600 });
    await renew(client, next);
    expect(await lastTold(client)).toMatchObject({ event: 'renewed', expires_at: expiryOf(next) });
    aheadMs = 66_000;
    client.send(publishPacket('devices/device-1/x', 'still here', { qos: 1 }));
    expect(payloads([await client.next('publish')])).toEqual(['still here']);
    aheadMs = 606_000;
    await client.closed;
    expect(await broker.refusal({ action: 'session' })).toMatchObject({ reason: 'session_expired' });
  });

  test('with the acknowledgement the new grants are in force', async () => {
    const broker = await startTestBroker();
    const client = await broker.session('device-1', {}, broker.token('device-1', { scope: [] }));
    await renew(client, broker.token('device-1', { scope: ownScope('device-1') }));
    expect(await subscribe(client, ['devices/device-1/#'])).toEqual([1]);
    client.send(publishPacket('devices/device-1/x', 'granted'));
    expect(payloads([await client.next('publish')])).toEqual(['granted']);
  });

  test.each([0, 1, 2] as const)('with QoS %i, retained or not, the token goes nowhere', async (qos) => {
    const broker = await startTestBroker();
    const seen: string[] = [];
    broker.aedes.on('publish', ({ topic, payload }) => seen.push(`${topic} ${payload}`));
    const client = await broker.session('device-1', { clean: false });
    await subscribe(client, [sessionTopic]);
    const token = broker.token('device-1', { expiresInSeconds: 900 });
    client.send(publishPacket(tokenTopic, token, { qos, retain: true }));
    if (qos === 1) await client.next('puback');
    if (qos === 2) {
      const { messageId: id } = (await client.next('pubrec')) as { messageId?: number };
      client.send({ cmd: 'pubrel', messageId: id as number });
      await client.next('pubcomp');
    }
    await until(() => told(client).some(({ event }) => event === 'renewed'));
    const { persistence } = broker.aedes as unknown as {
      persistence: { createRetainedStream(filter: string): AsyncIterable<unknown> };
    };
    expect(await Array.fromAsync(persistence.createRetainedStream('$fleetgate/#'))).toEqual([]);
    expect(JSON.stringify([seen, broker.refusals, broker.log()])).not.toContain(token.split('.')[1]);
  });

  test('several in one go are taken in their order, and each is acknowledged', async () => {
    const broker = await startTestBroker();
    const client = await broker.session('device-1');
    const tokens = [900, 800, 700].map((expiresInSeconds) => broker.token('device-1', { expiresInSeconds }));
    await subscribe(client, [sessionTopic]);
    client.send(...tokens.map((token) => publishPacket(tokenTopic, token, { qos: 1 })));
    for (const _ of tokens) await client.next('puback');
    await client.settle();
    expect(
      told(client)
        .slice(1)
        .map(({ expires_at }) => expires_at),
    ).toEqual(tokens.map(expiryOf));
  });

  test('by mqtt.js, and the session is the same one', async () => {
    const broker = await startTestBroker();
    const client = broker.mqttClient('device-1', { clean: false });
    await new Promise((resolve) => client.once('connect', resolve));
    await client.publishAsync(tokenTopic, broker.token('device-1'), { qos: 1 });
    await client.publishAsync('devices/device-1/x', 'x', { qos: 1 });
    expect(client.connected).toBe(true);
  });
});

describe('a token that is refused changes nothing, and the client is told why', () => {
  const table: [string, (broker: TestBroker) => string, string][] = [
    ['of another client', (broker) => broker.token('device-2'), 'token_claim_invalid'],
    [
      'expired',
      (broker) => {
        const now = Math.floor(Date.now() / 1000);
        return broker.token('device-1', { claims: { iat: now - 600, nbf: now - 600, exp: now - 60 } });
      },
      'token_expired',
    ],
    ['no token', () => 'nonsense', 'token_malformed'],
    ['empty', () => '', 'token_missing'],
    ['of an unknown issuer', () => testIssuer('https://other.example').token(), 'token_issuer_unknown'],
    [
      'signed by nobody',
      (broker) => `${broker.token('device-1').split('.').slice(0, 2).join('.')}.AAAA`,
      'token_signature_invalid',
    ],
    [
      'for another audience',
      (broker) => broker.token('device-1', { claims: { aud: ['x'] } }),
      'token_audience_refused',
    ],
  ];
  test.each(table)('%s', async (_what, tokenOf, error) => {
    const broker = await startTestBroker();
    const client = await broker.session('device-1');
    await subscribe(client, [sessionTopic]);
    await renew(client, tokenOf(broker));
    expect(await lastTold(client)).toEqual({ event: 'refused', error });
    expect(await broker.refusal({ action: 'renewal' })).toMatchObject({
      reason: error,
      clientId: 'device-1',
    });
    client.send(publishPacket('devices/device-1/x', 'x', { qos: 1 }));
    await client.next('puback');
    await broker.servesOthers();
  });

  test('of a client of the same name at another issuer', async () => {
    const other = testIssuer('https://other.example');
    const first = testIssuer();
    const broker = await startTestBroker({
      issuers: [first, other].map(({ name, jwks }) => ({ issuer: name, keys: { jwks } })),
    });
    const client = await broker.session('device-1', {}, first.token({ clientId: 'device-1' }));
    await subscribe(client, [sessionTopic]);
    await renew(client, other.token({ clientId: 'device-1' }));
    expect(await lastTold(client)).toEqual({ event: 'refused', error: 'token_claim_invalid' });
  });
});

describe('the topics of the plugin', () => {
  attack('are closed to subscribers of all kinds but for the session', {}, async (broker) => {
    const token = broker.token('spy', { scope: ['mqtt:subscribe:#', 'mqtt:subscribe:$fleetgate/#'] });
    const spy = await broker.session('spy', {}, token);
    const filters = [tokenTopic, '$fleetgate/#', '$fleetgate/+', '$fleetgate/dropped', `${sessionTopic}/#`];
    expect(await subscribe(spy, filters)).toEqual(filters.map(() => 128));
    expect(await subscribe(spy, ['#', '+/session', '+/token'])).toEqual([1, 1, 1]);
    const client = await broker.session('device-1');
    await subscribe(client, [sessionTopic]);
    await renew(client, broker.token('device-1'));
    expect(payloads(await spy.settle())).toEqual([]);
  });

  attack('are closed to publishers but for their own token', {}, async (broker) => {
    const victim = await broker.session('device-2');
    await subscribe(victim, [sessionTopic]);
    await victim.settle();
    const before = told(victim).length;
    for (const topic of [sessionTopic, '$fleetgate/dropped', '$fleetgate/token/device-2', '$fleetgate']) {
      const scope = ['mqtt:publish:#', `mqtt:publish:${topic}`];
      const client = await broker.session('forger', {}, broker.token('forger', { scope }));
      client.send(publishPacket(topic, '{"event":"renewed"}', { qos: 1 }));
      await client.closed;
    }
    await victim.settle();
    expect(told(victim)).toHaveLength(before);
  });

  attack('a will to them is refused at CONNECT', {}, async (broker) => {
    for (const topic of [tokenTopic, sessionTopic, '$fleetgate/dropped']) {
      const will = { topic, payload: Buffer.from('x'), qos: 1 as const, retain: true };
      expect(await broker.connack('device-1', broker.token('device-1'), { will })).toBe(5);
    }
  });

  attack('without a session a token changes nothing', {}, async (broker) => {
    const client = await broker.raw();
    client.send(publishPacket(tokenTopic, broker.token('device-1'), { qos: 1 }));
    await client.closed;
    expect(client.received).toEqual([]);
  });

  attack('a flood of tokens is bounded, and each is acknowledged', {}, async (broker) => {
    const client = await broker.session('device-1');
    await subscribe(client, [sessionTopic]);
    const packets = Array.from({ length: 200 }, () =>
      publishPacket(tokenTopic, broker.token('device-1'), { qos: 1 }),
    );
    client.send(...packets);
    await until(() => client.received.filter(({ cmd }) => cmd === 'puback').length === packets.length);
    await client.settle();
    expect(told(client).some(({ error }) => error === 'too_many_renewals')).toBe(true);
  });
});

describe('a renewal that narrows', () => {
  const wide = ['mqtt:subscribe:devices/#', 'mqtt:publish:devices/#'];
  const narrow = ownScope('device-1');

  test.each([true, false])(
    'ends subscriptions no longer covered, live and stored (clean %s)',
    async (clean) => {
      const broker = await startTestBroker();
      const publisher = await broker.session('publisher', {}, broker.token('publisher', { scope: wide }));
      const client = await broker.session('device-1', { clean }, broker.token('device-1', { scope: wide }));
      await subscribe(client, ['devices/device-2/#', 'devices/device-1/#', sessionTopic]);
      await renew(client, broker.token('device-1', { scope: narrow }));
      for (const topic of ['devices/device-2/x', 'devices/device-1/x']) {
        publisher.send(publishPacket(topic, topic, { qos: 1 }));
        await publisher.next('puback');
      }
      await until(() => payloads(client.received).includes('devices/device-1/x'));
      await client.settle();
      expect(payloads(client.received)).not.toContain('devices/device-2/x');
      const { persistence } = broker.aedes as unknown as {
        persistence: { subscriptionsByClient(client: { id: string }): Promise<{ topic: string }[]> };
      };
      const stored = (await persistence.subscriptionsByClient({ id: 'device-1' })).map(({ topic }) => topic);
      expect(stored.sort()).toEqual(clean ? [] : [sessionTopic, 'devices/device-1/#'].sort());
      expect(await broker.refusal({ action: 'subscribe', topic: 'devices/device-2/#' })).toMatchObject({
        reason: 'no_rule',
      });
      client.send(publishPacket('devices/device-2/x', 'x'));
      await client.closed;
    },
  );

  test('gives room for other subscriptions under the limit', async () => {
    const broker = await startTestBroker({ limits: { maxSubscriptionsPerClient: 2 } });
    const client = await broker.session('device-1', {}, broker.token('device-1', { scope: wide }));
    expect(
      await subscribe(client, ['devices/device-2/a', 'devices/device-2/b', 'devices/device-1/a']),
    ).toEqual([1, 1, 128]);
    await renew(client, broker.token('device-1', { scope: narrow }));
    expect(await subscribe(client, ['devices/device-1/a', 'devices/device-1/b'])).toEqual([1, 1]);
  });

  test('of what waits for a persistent session the permitted arrives, the rest never, and the queue is empty', async () => {
    const broker = await startTestBroker();
    const publisher = await broker.session('publisher', {}, broker.token('publisher', { scope: wide }));
    const first = await broker.session(
      'device-1',
      { clean: false },
      broker.token('device-1', { scope: wide }),
    );
    await subscribe(first, ['devices/#']);
    await first.end();
    const topics = Array.from({ length: 20 }, (_, n) => `devices/device-${n % 3 === 0 ? 1 : 2}/${n}`);
    for (const topic of topics) {
      publisher.send(publishPacket(topic, topic, { qos: 1 }));
      await publisher.next('puback');
    }
    // Back with what it had, and narrowed while the queue is on its way.
    const second = await broker.raw();
    second.send(connectPacket('device-1', broker.token('device-1', { scope: narrow }), { clean: false }));
    await second.next('connack');
    const permitted = topics.filter((topic) => topic.startsWith('devices/device-1/'));
    const acknowledged = new Set<number>();
    await until(() => {
      for (const packet of second.received) {
        if (packet.cmd !== 'publish' || packet.qos !== 1) continue;
        const id = packet.messageId as number;
        if (!acknowledged.has(id)) second.send({ cmd: 'puback', messageId: id });
        acknowledged.add(id);
      }
      return payloads(second.received).length >= permitted.length;
    });
    await second.settle();
    expect(payloads(second.received)).toEqual(permitted);
    const { persistence } = broker.aedes as unknown as {
      persistence: { outgoingStream(client: { id: string }): { toArray(): Promise<unknown[]> } };
    };
    await until(async () => (await persistence.outgoingStream({ id: 'device-1' }).toArray()).length === 0);
  });

  test('the will is held to the new grants', async () => {
    const broker = await startTestBroker();
    const watcher = await broker.session('watcher', {}, broker.token('watcher', { scope: wide }));
    await subscribe(watcher, ['devices/#']);
    const will = {
      topic: 'devices/device-2/x',
      payload: Buffer.from('gone'),
      qos: 1 as const,
      retain: false,
    };
    const client = await broker.session('device-1', { will }, broker.token('device-1', { scope: wide }));
    await renew(client, broker.token('device-1', { scope: narrow }));
    await client.end();
    expect(await broker.refusal({ action: 'will' })).toMatchObject({ reason: 'no_rule' });
    expect(payloads(await watcher.settle())).toEqual([]);
  });
});

test('a hundred renewals under QoS 1 traffic both ways lose and repeat nothing', {
  timeout: 60_000,
}, async () => {
  const broker = await startTestBroker();
  const scope = ['mqtt:publish:devices/#', 'mqtt:subscribe:devices/#'];
  const peer = await broker.session('peer', {}, broker.token('peer', { scope }));
  await subscribe(peer, ['devices/up']);
  const client = await broker.session('device-1', { clean: false }, broker.token('device-1', { scope }));
  await subscribe(client, ['devices/down']);
  let renewals = 0;
  let sent = 0;
  const acknowledge = (from: RawClient, seen: { count: number }) => {
    for (; seen.count < from.received.length; seen.count += 1) {
      const packet = from.received[seen.count] as IPublishPacket;
      if (packet.cmd === 'publish' && packet.qos === 1) {
        from.send({ cmd: 'puback', messageId: packet.messageId as number });
      }
    }
  };
  const seen = [{ count: 0 }, { count: 0 }] as const;
  while (renewals < 100) {
    const id = messageId();
    client.send(publishPacket(tokenTopic, broker.token('device-1', { scope }), { qos: 1, messageId: id }));
    for (let n = 0; n < 20; n += 1, sent += 1) {
      client.send(publishPacket('devices/up', `${sent}`, { qos: 1 }));
      peer.send(publishPacket('devices/down', `${sent}`, { qos: 1 }));
    }
    renewals += 1;
    await client.settle();
    await until(() => client.received.some((packet) => packet.cmd === 'puback' && packet.messageId === id));
    acknowledge(client, seen[0]);
    acknowledge(peer, seen[1]);
  }
  const expected = Array.from({ length: sent }, (_, n) => `${n}`);
  await until(() => payloads(peer.received).length >= sent && payloads(client.received).length >= sent);
  expect(payloads(peer.received)).toEqual(expected);
  expect(payloads(client.received)).toEqual(expected);
  await client.settle();
  expect(broker.refusals).toEqual([]);
});
