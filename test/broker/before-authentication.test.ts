import { duplexPair } from 'node:stream';
import type { Client } from 'aedes';
import { generate } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { attack, messageId, publishPacket, startTestBroker, subscribe } from '../support/broker-fixture.ts';
import { connectPacket, rawClientOn } from '../support/broker-raw-client.ts';

const filters = (topic: string) => ({
  cmd: 'subscribe' as const,
  messageId: messageId(),
  subscriptions: [{ topic, qos: 1 as const }],
});

describe('nothing behind a CONNECT is served before its answer', () => {
  // In one write, and in two with a turn of the event loop between them: the host takes them by different ways.
  describe.each(['in one segment', 'in a later segment'])('%s', (how) => {
    const isLater = how === 'in a later segment';

    attack('with a wrong token, nothing but the refusal is sent', {}, async (broker) => {
      const victim = await broker.session('device-2');
      await subscribe(victim, ['devices/device-2/#']);
      const client = await broker.raw();
      const connect = connectPacket('device-1', 'x.y.z');
      const rest = [
        filters('#'),
        publishPacket('devices/device-2/x', 'forged'),
        publishPacket('$SYS/x/new/clients', 'device-2'),
        { cmd: 'unsubscribe' as const, messageId: messageId(), unsubscriptions: ['a'] },
        { cmd: 'pingreq' as const },
      ];
      if (isLater) {
        client.send(connect);
        client.send(...rest);
      } else {
        client.send(connect, ...rest);
      }
      await client.closed;
      expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack']);
      expect(await victim.settle()).toEqual([]);
    });

    attack('with a good token, the answer comes first and what is allowed after it', {}, async (broker) => {
      const client = await broker.raw();
      const connect = connectPacket('device-1', broker.token('device-1'));
      const rest = [filters('devices/device-1/#'), { cmd: 'pingreq' as const }];
      if (isLater) {
        client.send(connect);
        client.send(...rest);
      } else {
        client.send(connect, ...rest);
      }
      await client.next('suback');
      expect(client.received[0]).toMatchObject({ cmd: 'connack', returnCode: 0 });
      expect(client.received.map(({ cmd }) => cmd).sort()).toEqual(['connack', 'pingresp', 'suback']);
    });
  });

  // What the host reads while it is between CONNECT and authentication is timed by chunks of the stream itself.
  attack('in chunks that arrive turn by turn', {}, async (broker) => {
    for (let turns = 0; turns < 6; turns += 1) {
      const [ours, theirs] = duplexPair();
      const client = rawClientOn(ours);
      broker.aedes.handle(theirs);
      ours.write(generate(connectPacket('device-1', 'x.y.z')));
      for (let i = 0; i < turns; i += 1) await new Promise((resolve) => setImmediate(resolve));
      ours.write(generate({ cmd: 'pingreq' }));
      await new Promise((resolve) => process.nextTick(resolve));
      ours.write(generate(filters('#')));
      await client.closed;
      expect(client.received.filter(({ cmd }) => cmd !== 'connack')).toEqual([]);
    }
  });

  // After CONNECT was handed to the host, and before that asks us about it, it would take the next chunk.
  attack('in a chunk that comes within the same turn', {}, async (broker) => {
    for (let ticks = 0; ticks < 12; ticks += 1) {
      const [ours, theirs] = duplexPair();
      const client = rawClientOn(ours);
      broker.aedes.handle(theirs);
      ours.write(generate(connectPacket('device-1', 'x.y.z')));
      for (let i = 0; i < ticks; i += 1) await new Promise((resolve) => process.nextTick(resolve));
      ours.write(generate({ cmd: 'pingreq' }));
      await client.closed;
      expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack']);
    }
  });
});

describe('whoever has no session of ours is denied in every hook', () => {
  // A client object that claims all a registered client could.
  const claimed = {
    id: 'device-1',
    clean: true,
    connected: true,
    connecting: false,
    closed: false,
    _authorized: true,
    will: null,
    conn: { destroy() {} },
  } as unknown as Client;

  test('publish', async () => {
    const { auth } = await startTestBroker();
    const error = await new Promise((resolve) =>
      auth.hooks.authorizePublish(claimed, publishPacket('devices/device-1/x', 'x'), resolve),
    );
    expect(error).toBeInstanceOf(Error);
  });

  test('a will', async () => {
    const { auth } = await startTestBroker();
    const packet = publishPacket('devices/device-1/x', 'x');
    const error = await new Promise((resolve) =>
      auth.hooks.authorizePublish({ ...claimed, will: packet } as unknown as Client, packet, resolve),
    );
    expect(error).toBeInstanceOf(Error);
  });

  test('subscribe', async () => {
    const { auth } = await startTestBroker();
    const subscription = { topic: 'devices/device-1/x', qos: 1 as const };
    const answer = await new Promise((resolve) =>
      auth.hooks.authorizeSubscribe(claimed, subscription, (error, granted) => resolve([error, granted])),
    );
    expect(answer).toEqual([expect.any(Error), undefined]);
  });

  test('receive', async () => {
    const { auth } = await startTestBroker();
    const packet = { ...publishPacket('devices/device-1/x', 'x'), brokerId: 'b', brokerCounter: 1 };
    expect(auth.hooks.authorizeForward(claimed, packet)).toBeNull();
  });

  test('connect', async () => {
    const { auth, token } = await startTestBroker();
    const connect = connectPacket('device-1', token('device-1'));
    const preConnect = await new Promise((resolve) =>
      auth.hooks.preConnect(claimed, connect as never, (error, success) => resolve([error, success])),
    );
    expect(preConnect).toEqual([expect.any(Error), false]);
    const password = Buffer.from(token('device-1'));
    const authenticate = await new Promise((resolve) =>
      auth.hooks.authenticate(claimed, 'device-1', password, (error, success) => resolve([error, success])),
    );
    expect(authenticate).toEqual([expect.objectContaining({ returnCode: 5 }), false]);
  });
});
