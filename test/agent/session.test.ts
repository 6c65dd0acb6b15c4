import { once as onceEvent } from 'node:events';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { createTokenSource } from '../../agent/index.ts';
import { deviceCredentials, startAgent, startBroker, startIssuer } from '../support/agent-fixture.ts';

const names = (story: { name: string }[]) => story.map(({ name }) => name);

/** Calls `send` with 0, 1, 2, … until `until` has passed and all that was sent has settled. */
async function every2ms(
  send: (number: number) => Promise<void>,
  until: () => Promise<void>,
): Promise<{ sent: number }> {
  let isOver = false;
  const over = until().then(() => {
    isOver = true;
  });
  const sending: Promise<void>[] = [];
  while (!isOver) {
    sending.push(send(sending.length));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await over;
  await Promise.all(sending);
  return { sent: sending.length };
}

describe('connecting', () => {
  test('the password is the token and the user name and client id are the client_id', async () => {
    const seen: unknown[] = [];
    const issuer = await startIssuer();
    const broker = await startBroker((connect) => {
      seen.push(connect);
      return 0;
    });
    const { agent, once } = startAgent(issuer.origin, broker.url);
    expect(agent.phase).toBe('idle');
    agent.start();
    expect(await once('connected')).toEqual({ sessionPresent: false });
    expect(seen).toMatchObject([{ clientId: 'd1', username: 'd1', token: 'canary-token-1' }]);
    expect(agent.phase).toBe('connected');
  });

  test('a broker that is away at the start is found when it comes', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    await broker.stop();
    const { agent, once } = startAgent(issuer.origin, broker.url);
    const published = agent.publish('a', 'x', { qos: 1 });
    await once('unreachable');
    await broker.start();
    await published;
    expect(issuer.requests()).toBe(1);
  });

  test('4: the token is dropped and a new one tried at once, and with back-off when that is refused too', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker(() => 4);
    const { agent, story, once } = startAgent(issuer.origin, broker.url);
    agent.start();
    expect(await once('refused')).toEqual({ returnCode: 4, isPermanent: false, retryInMs: 0 });
    const second = await once('refused');
    expect(second).toMatchObject({ returnCode: 4, isPermanent: true });
    expect(second.retryInMs).toBeGreaterThanOrEqual(15_000);
    expect(broker.tokens).toEqual(['canary-token-1', 'canary-token-2']);
    expect(names(story)).toEqual(['token', 'refused', 'token', 'refused']);
  });

  test('4 once, for an old token: connected with a new one', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker(({ token }) => (token === 'canary-token-1' ? 4 : 0));
    const { agent } = startAgent(issuer.origin, broker.url);
    await agent.publish('a', 'x', { qos: 1 });
    expect(broker.tokens).toEqual(['canary-token-1', 'canary-token-2']);
  });

  test.each([2, 5])(
    '%i: permanent, told, and tried again rarely with the token it has',
    async (returnCode) => {
      const issuer = await startIssuer();
      const broker = await startBroker(() => returnCode);
      const { agent, once } = startAgent(issuer.origin, broker.url);
      agent.start();
      const refused = await once('refused');
      expect(refused).toMatchObject({ returnCode, isPermanent: true });
      expect(refused.retryInMs).toBeGreaterThanOrEqual(15_000);
      expect(issuer.requests()).toBe(1);
    },
  );

  test('3: not permanent, and tried again with the same token', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker(({ count }) => (count === 1 ? 3 : 0));
    const { agent, once } = startAgent(issuer.origin, broker.url);
    const published = agent.publish('a', 'x', { qos: 1 });
    expect(await once('refused')).toMatchObject({ returnCode: 3, isPermanent: false });
    await published;
    expect(broker.tokens).toEqual(['canary-token-1', 'canary-token-1']);
  });

  test('an issuer that refuses the credentials is asked again rarely, and the broker not at all', async () => {
    const issuer = await startIssuer();
    issuer.answer = () => ({ status: 401, body: { error: 'invalid_client' } });
    const broker = await startBroker();
    const { agent, once } = startAgent(issuer.origin, broker.url);
    agent.start();
    const { error, retryInMs } = await once('token_failed');
    expect(error).toMatchObject({ code: 'invalid_client' });
    expect(retryInMs).toBeGreaterThanOrEqual(15_000);
    expect(broker.tokens).toEqual([]);
  });
});

describe('renewal', () => {
  test('under steady QoS 1 traffic nothing is lost, and no will is published', {
    timeout: 40_000,
  }, async () => {
    const issuer = await startIssuer(2);
    const broker = await startBroker();
    const wills: string[] = [];
    const arrived: number[] = [];
    broker.aedes.on('publish', ({ topic, payload }) => {
      if (topic === 'will') wills.push(topic);
      if (topic === 'up') arrived.push(Number(payload.toString()));
    });
    const { agent, story, once } = startAgent(issuer.origin, broker.url, {
      will: { topic: 'will', payload: 'gone', qos: 1 },
    });
    const { sent } = await every2ms(
      (number) => agent.publish('up', `${number}`, { qos: 1 }),
      async () => {
        for (let renewals = 0; renewals < 3; renewals += 1) await once('renewed');
      },
    );
    expect(new Set(arrived).size).toBe(sent);
    // At least once: what is under way at a renewal may come twice, and no more than that.
    expect(arrived.length - sent).toBeLessThanOrEqual(300);
    expect(wills).toEqual([]);
    expect(names(story)).not.toContain('disconnected');
    expect(new Set(broker.tokens).size).toBe(broker.tokens.length);
  });

  // Aedes may close a connection whose queue it is sending when a message arrives live; nothing may be lost by that.
  test('what is sent to the device under steady QoS 1 traffic is not lost', { timeout: 40_000 }, async () => {
    const issuer = await startIssuer(2);
    const broker = await startBroker();
    const { agent, once } = startAgent(issuer.origin, broker.url);
    const received = new Set<number>();
    await agent.subscribe('down', { qos: 1 }, ({ payload }) => {
      received.add(Number(payload.toString()));
    });
    const { sent } = await every2ms(
      async (number) => {
        const packet = { cmd: 'publish', topic: 'down', payload: `${number}`, qos: 1 } as const;
        broker.aedes.publish({ ...packet, retain: false, dup: false }, () => undefined);
      },
      async () => {
        for (let renewals = 0; renewals < 3; renewals += 1) await once('renewed');
      },
    );
    await expect.poll(() => received.size, { timeout: 10_000 }).toBe(sent);
  });

  test('a subscription is sent again only when the broker has no session', { timeout: 40_000 }, async () => {
    const issuer = await startIssuer(2);
    const broker = await startBroker();
    const subscribed: string[] = [];
    broker.aedes.on('subscribe', (subscriptions) => {
      for (const { topic } of subscriptions) if (topic === 'a/#') subscribed.push(topic);
    });
    const { agent, once } = startAgent(issuer.origin, broker.url);
    await agent.subscribe('a/#', { qos: 1 }, () => undefined);
    const before = subscribed.length;
    const packets: string[] = [];
    broker.aedes.on('client', (client) => {
      client.conn.on('data', (bytes: Buffer) => {
        if (bytes.includes('a/#')) packets.push('SUBSCRIBE');
      });
    });
    await once('renewed');
    await agent.publish('b', 'x', { qos: 1 });
    expect(before).toBe(1);
    expect(packets).toEqual([]);

    const other = await startBroker();
    const clean = startAgent(issuer.origin, other.url, { clean: true });
    const received: string[] = [];
    await clean.agent.subscribe('c', { qos: 1 }, ({ topic }) => {
      received.push(topic);
    });
    await clean.once('renewed');
    await expect
      .poll(async () => {
        await clean.agent.publish('c', 'x', { qos: 1 });
        return received.length;
      })
      .toBeGreaterThan(0);
  });

  test('while the issuer is away the session stays on the token that is still valid', {
    timeout: 40_000,
  }, async () => {
    const issuer = await startIssuer(6);
    const broker = await startBroker();
    const { agent, story, once } = startAgent(issuer.origin, broker.url);
    await agent.publish('a', 'x', { qos: 1 });
    const token = issuer.answer;
    issuer.answer = () => ({ status: 500, body: {} });
    await once('token_failed');
    await agent.publish('a', 'y', { qos: 1 });
    expect(agent.phase).toBe('connected');
    expect(broker.tokens).toEqual(['canary-token-1']);
    issuer.answer = token;
    await once('renewed');
    expect(names(story)).not.toContain('disconnected');
  });
});

describe('interruptions', () => {
  test('what was not acknowledged is sent again with DUP after a cut, and its publish resolves then', async () => {
    const issuer = await startIssuer();
    let isCutting = true;
    const duplicates: boolean[] = [];
    const broker = await startBroker(() => 0, {
      authorizePublish(client, packet, done) {
        duplicates.push((packet as { dup?: boolean }).dup === true);
        if (!isCutting) return done(null);
        isCutting = false;
        client?.conn.destroy();
      },
    });
    const { agent, once } = startAgent(issuer.origin, broker.url);
    agent.start();
    await once('connected');
    await agent.publish('a', 'x', { qos: 1 });
    expect(duplicates).toEqual([false, true]);
  });

  test('a message on which the broker closes again and again is given up, and the next ones arrive', {
    timeout: 40_000,
  }, async () => {
    const issuer = await startIssuer();
    const broker = await startBroker(() => 0, {
      authorizePublish: (_client, { topic }, done) =>
        done(topic === 'forbidden' ? new Error('outside the grants') : null),
    });
    const { agent } = startAgent(issuer.origin, broker.url);
    const refused = agent.publish('forbidden', 'x', { qos: 1 });
    const next = agent.publish('allowed', 'x', { qos: 1 });
    await expect(refused).rejects.toMatchObject({ code: 'broker_refused' });
    await next;
  });

  test('a filter the broker refuses rejects with broker_refused, and the others stay', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker(() => 0, {
      authorizeSubscribe: (_client, subscription, done) =>
        done(null, subscription.topic === 'no/#' ? null : subscription),
    });
    const { agent } = startAgent(issuer.origin, broker.url);
    const received: string[] = [];
    const refused = agent.subscribe('no/#', {}, () => undefined);
    await expect(refused).rejects.toMatchObject({ code: 'broker_refused' });
    const subscription = await agent.subscribe('yes/#', { qos: 1 }, ({ topic }) => {
      received.push(topic);
    });
    await agent.publish('yes/a', 'x', { qos: 1 });
    await expect.poll(() => received).toEqual(['yes/a']);
    await subscription.unsubscribe();
    await agent.publish('yes/b', 'x', { qos: 1 });
    expect(received).toEqual(['yes/a']);
  });

  test('commands that came while the device was off reach a handler given before the first connection', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    const first = startAgent(issuer.origin, broker.url);
    await first.agent.subscribe('c', { qos: 1 }, () => undefined);
    await first.agent.stop();
    await new Promise<void>((resolve) => {
      broker.aedes.publish(
        { cmd: 'publish', topic: 'c', payload: 'kept', qos: 1, retain: false, dup: false },
        () => resolve(),
      );
    });
    const second = startAgent(issuer.origin, broker.url);
    const received: string[] = [];
    await second.agent.subscribe('c', { qos: 1 }, ({ payload }) => {
      received.push(payload.toString());
    });
    await expect.poll(() => received).toEqual(['kept']);
    expect(names(second.story)).not.toContain('unhandled');
  });

  test('a handler that throws is reported, and the session goes on', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    const { agent, once } = startAgent(issuer.origin, broker.url);
    await agent.subscribe('c', {}, () => {
      throw new Error('handler');
    });
    const failed = once('handler_failed');
    await agent.publish('c', 'x', { qos: 1 });
    expect(await failed).toMatchObject({ filter: 'c' });
    await agent.publish('c', 'y', { qos: 1 });
  });
});

describe('the queue', () => {
  test('offline publishes wait in order, and past the limit reject with queue_full', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    const arrived: string[] = [];
    broker.aedes.on('publish', ({ topic, payload }) => {
      if (topic === 'a') arrived.push(payload.toString());
    });
    await broker.stop();
    const { agent } = startAgent(issuer.origin, broker.url, { maxQueuedMessages: 3, maxQueuedBytes: 100 });
    const waiting = [0, 1, 1].map((qos, index) => agent.publish('a', `${index}`, { qos: qos as 0 | 1 }));
    await expect(agent.publish('a', '3')).rejects.toMatchObject({ code: 'queue_full' });
    await expect(agent.publish('a', 'x'.repeat(100))).rejects.toMatchObject({ code: 'payload_too_large' });
    await broker.start();
    await Promise.all(waiting);
    await expect.poll(() => arrived).toEqual(['0', '1', '2']);
    await agent.publish('a', '4', { qos: 1 });
  });

  test('bytes are limited too', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    await broker.stop();
    const { agent } = startAgent(issuer.origin, broker.url, { maxQueuedBytes: 10 });
    const waiting = agent.publish('a', '12345678', { qos: 1 });
    await expect(agent.publish('a', '12')).rejects.toMatchObject({ code: 'queue_full' });
    await broker.start();
    await waiting;
  });

  test('a topic or filter that would close the connection is refused before it is sent', async () => {
    const issuer = await startIssuer();
    const { agent } = startAgent(issuer.origin, 'mqtt://127.0.0.1:1');
    await expect(agent.publish('a/#', 'x')).rejects.toMatchObject({ code: 'topic_malformed' });
    await expect(agent.subscribe('a#', {}, () => undefined)).rejects.toMatchObject({
      code: 'filter_malformed',
    });
    expect(agent.phase).toBe('idle');
  });
});

describe('stop', () => {
  test('delivers what is queued, disconnects without a will, and rejects what comes later', async () => {
    const issuer = await startIssuer();
    const wills: string[] = [];
    let isArrived = false;
    const broker = await startBroker();
    broker.aedes.on('publish', ({ topic }) => {
      if (topic === 'will') wills.push(topic);
      if (topic === 'a') isArrived = true;
    });
    const { agent, once } = startAgent(issuer.origin, broker.url, { will: { topic: 'will', payload: '' } });
    agent.start();
    await once('connected');
    const last = agent.publish('a', 'x', { qos: 1 });
    const gone = onceEvent(broker.aedes, 'clientDisconnect');
    await agent.stop();
    await last;
    await gone;
    expect(isArrived).toBe(true);
    expect(wills).toEqual([]);
    expect(agent.phase).toBe('stopped');
    await expect(agent.publish('a', 'x')).rejects.toMatchObject({ code: 'stopped' });
    await expect(agent.subscribe('a', {}, () => undefined)).rejects.toMatchObject({ code: 'stopped' });
  });

  test('while offline rejects what waits with stopped', async () => {
    const issuer = await startIssuer();
    const { agent, once } = startAgent(issuer.origin, 'mqtt://127.0.0.1:1');
    const published = agent.publish('a', 'x', { qos: 1 });
    const subscribed = agent.subscribe('a', {}, () => undefined);
    await once('unreachable');
    const results = Promise.allSettled([published, subscribed]);
    await agent.stop();
    expect((await results).map((result) => result.status === 'rejected' && result.reason.code)).toEqual([
      'stopped',
      'stopped',
    ]);
  });
});

test('inspecting an agent, its token source and their errors shows no secret and no token', async () => {
  const issuer = await startIssuer();
  const broker = await startBroker(({ count }) => (count === 2 ? 5 : 0));
  const tokens = createTokenSource(deviceCredentials(issuer.origin, broker.url));
  const { agent, story, once } = startAgent(issuer.origin, broker.url, { tokens });
  await agent.publish('a', 'x', { qos: 1 });
  broker.cut();
  await once('refused');
  const shown = inspect([agent, tokens, story, await tokens.get()], {
    depth: 20,
    showHidden: true,
    getters: true,
  });
  expect(`${shown}${JSON.stringify([agent, story])}`).not.toContain('canary');
});
