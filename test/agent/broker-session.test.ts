import { describe, expect, test } from 'vitest';
import { startAgent, startBroker, startIssuer } from '../support/agent-fixture.ts';

const sessionTopic = '$fleetgate/session';
const tokenTopic = '$fleetgate/token';
type Broker = Awaited<ReturnType<typeof startBroker>>;
type Answer = (token: string) => object | undefined;

/** A broker that tells each subscriber of the session topic its grants, and answers tokens as it is told. */
async function startTellingBroker(
  answer: Answer,
  grants = { publish: ['#'], subscribe: ['#'] },
): Promise<Broker> {
  const broker = await startBroker();
  const tell = (event: object) =>
    broker.aedes.publish(
      {
        cmd: 'publish',
        topic: sessionTopic,
        payload: JSON.stringify(event),
        qos: 0,
        retain: false,
        dup: false,
      },
      () => undefined,
    );
  const expires_at = Math.floor(Date.now() / 1000) + 600;
  broker.aedes.on('subscribe', (subscriptions) => {
    if (subscriptions.some(({ topic }) => topic === sessionTopic))
      tell({ event: 'session', expires_at, grants });
  });
  broker.aedes.on('publish', ({ topic, payload }) => {
    if (topic !== tokenTopic) return;
    const event = answer(payload.toString());
    if (event !== undefined) tell(event);
  });
  return broker;
}

const renewed = { event: 'renewed', expires_at: 1, grants: { publish: ['#'], subscribe: ['#'] } };

describe('the next token', { timeout: 40_000 }, () => {
  test('goes to a broker that renews in place, and the connection stays', async () => {
    const issuer = await startIssuer(2);
    const tokens: string[] = [];
    const broker = await startTellingBroker((token) => {
      tokens.push(token);
      return renewed;
    });
    const { agent, story, once } = startAgent(issuer.origin, broker.url);
    agent.start();
    expect(await once('renewed')).toMatchObject({ inPlace: true });
    expect(await once('renewed')).toMatchObject({ inPlace: true });
    expect(tokens.slice(0, 2)).toEqual(['canary-token-2', 'canary-token-3']);
    expect(broker.tokens).toEqual(['canary-token-1']);
    expect(story.map(({ name }) => name)).not.toContain('disconnected');
  });

  test('is reconnected with when the broker refuses it in place', async () => {
    const issuer = await startIssuer(2);
    const broker = await startTellingBroker(() => ({ event: 'refused', error: 'token_claim_invalid' }));
    const { agent, once } = startAgent(issuer.origin, broker.url);
    agent.start();
    expect(await once('renewed')).toMatchObject({ inPlace: false });
    expect(broker.tokens).toEqual(['canary-token-1', 'canary-token-2']);
  });

  test('is not sent to a broker that tells nothing, and never again over another connection', async () => {
    const issuer = await startIssuer(2);
    const broker = await startBroker();
    const seen: string[] = [];
    broker.aedes.on('publish', ({ topic }) => seen.push(topic));
    const { agent, once } = startAgent(issuer.origin, broker.url);
    agent.start();
    expect(await once('renewed')).toMatchObject({ inPlace: false });
    expect(seen).not.toContain(tokenTopic);
  });

  test('lost with its connection is not sent on the next', async () => {
    const issuer = await startIssuer(2);
    const seen: string[] = [];
    const broker = await startBroker(() => 0, {
      authorizePublish(client, { topic, payload }, done) {
        if (topic !== tokenTopic) return done(null);
        seen.push(payload.toString());
        client?.conn.destroy();
      },
    });
    broker.aedes.on('subscribe', (subscriptions) => {
      if (!subscriptions.some(({ topic }) => topic === sessionTopic)) return;
      const event = { ...renewed, event: 'session' };
      broker.aedes.publish(
        {
          cmd: 'publish',
          topic: sessionTopic,
          payload: JSON.stringify(event),
          qos: 0,
          retain: false,
          dup: false,
        },
        () => undefined,
      );
    });
    const { agent, once } = startAgent(issuer.origin, broker.url);
    agent.start();
    expect(await once('renewed')).toMatchObject({ inPlace: false });
    await agent.publish('a', 'x', { qos: 1 });
    expect(seen).toEqual(['canary-token-2']);
    expect(broker.tokens).toEqual(['canary-token-1', 'canary-token-2']);
  });
});

describe('a publish outside the grants the broker told', () => {
  test('is refused in the caller’s hand, and nothing is sent', async () => {
    const issuer = await startIssuer();
    const broker = await startTellingBroker(() => undefined, { publish: ['a/+'], subscribe: [] });
    const seen: string[] = [];
    broker.aedes.on('publish', ({ topic }) => seen.push(topic));
    const { agent } = startAgent(issuer.origin, broker.url);
    await expect(agent.publish('b/x', 'x', { qos: 1 })).rejects.toMatchObject({ code: 'broker_refused' });
    await agent.publish('a/x', 'x', { qos: 1 });
    expect(seen).toContain('a/x');
    expect(seen).not.toContain('b/x');
  });

  test('is sent where nothing was told', async () => {
    const issuer = await startIssuer();
    const broker = await startBroker();
    const { agent } = startAgent(issuer.origin, broker.url);
    await agent.publish('b/x', 'x', { qos: 1 });
  });
});

test('a broker that closes the connection on the session topic is asked three times and then left alone', {
  timeout: 40_000,
}, async () => {
  const issuer = await startIssuer();
  let asked = 0;
  const broker = await startBroker(() => 0, {
    authorizeSubscribe(_client, subscription, done) {
      if (subscription.topic !== sessionTopic) return done(null, subscription);
      asked += 1;
      done(new Error('unknown'));
    },
  });
  const { agent } = startAgent(issuer.origin, broker.url);
  await agent.subscribe('a', { qos: 1 }, () => undefined);
  await expect.poll(() => asked, { timeout: 20_000 }).toBe(3);
  await agent.publish('a', 'x', { qos: 1 });
  expect(agent.phase).toBe('connected');
});
