import { compileGrants, parsePolicy } from '@fleetgate/broker';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decide, type Principal, type PublishAttempt } from '../../broker/authorization/decide.ts';
import { MAX_POLICY_RULES } from '../../broker/authorization/policy.ts';
import { type MessageBuckets, withinRate } from '../../broker/message-rate.ts';
import {
  attack,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  until,
} from '../support/broker-fixture.ts';

interface Rule {
  topic: string;
  max_messages_per_second?: number;
  burst?: number;
  max_qos?: number;
}
const policyOf = (scopes: Record<string, Rule[]>) =>
  parsePolicy(
    JSON.stringify({
      version: 1,
      scopes: Object.fromEntries(Object.entries(scopes).map(([name, publish]) => [name, { publish }])),
    }),
    'policy.yaml',
  );
const principalOf = (scopes: Record<string, Rule[]>, held = Object.keys(scopes)): Principal => ({
  clientId: 'a',
  issuer: 'http://issuer',
  tokenId: 'id',
  expiresAtMs: 1,
  grants: compileGrants(policyOf(scopes), { clientId: 'a', scopes: held, claims: {} }),
});
const publish = (topic: string): PublishAttempt => ({
  action: 'publish',
  topic,
  qos: 0,
  retain: false,
  bytes: 0,
});

/** A session as the hook has it. `publish` says `allowed` or why not. */
function session(scopes: Record<string, Rule[]>, held?: string[]) {
  const state: { principal: Principal; messageBuckets?: MessageBuckets } = {
    principal: principalOf(scopes, held),
  };
  return {
    state,
    publish(topic: string, nowMs: number): string {
      const attempt = publish(topic);
      const decision = decide(state.principal, attempt, 0);
      const held =
        decision.allowed && decision.rate !== undefined
          ? withinRate(state, attempt, decision, nowMs)
          : decision;
      return held.allowed ? 'allowed' : held.reason;
    },
  };
}

const rated = (topic: string, rate: number, burst?: number): Rule => ({
  topic,
  max_messages_per_second: rate,
  ...(burst === undefined ? {} : { burst }),
});

describe('a rule with a rate lets through', () => {
  test.each<[string, Rule, number[], number[]]>([
    ['one at once by default below one a second', rated('t', 0.2), [0, 0, 4999, 5000, 5000], [0, 5000]],
    ['a second of messages at once by default above', rated('t', 3), [0, 0, 0, 0], [0, 0, 0]],
    ['a burst at once, then the rate', rated('t', 1, 2), [0, 0, 0, 999, 1000, 1000], [0, 0, 1000]],
    [
      'a burst again after a pause long enough',
      rated('t', 1, 2),
      [0, 0, 1500, 4000, 4000, 4000],
      [0, 0, 1500, 4000, 4000],
    ],
    ['no more than the burst after any pause', rated('t', 1, 2), [0, 1e9, 1e9, 1e9], [0, 1e9, 1e9]],
    ['nothing for a clock that goes back', rated('t', 1), [5000, 0, 4000, 5999, 6000], [5000, 6000]],
    ['nothing for a clock that says nothing', rated('t', 1), [0, Number.NaN, 999, 1000], [0, 1000]],
  ])('%s', (_rule, rule, times, passed) => {
    const one = session({ s: [rule] });
    expect(times.filter((nowMs) => one.publish('t', nowMs) === 'allowed')).toEqual(passed);
    expect(one.publish('t', times.at(-1) as number)).toBe('rate_exceeded');
  });
});

describe('of several rules that allow a publish', () => {
  test('one without a rate lets it through, and nothing is counted', () => {
    const one = session({ s: [rated('t', 1), { topic: '#' }] });
    expect([one.publish('t', 0), one.publish('t', 0)]).toEqual(['allowed', 'allowed']);
    expect(one.state.messageBuckets).toBeUndefined();
  });

  test('any with room lets it through, and only that one is charged', () => {
    const one = session({ s: [rated('t/#', 1), rated('t/a', 1), rated('+/b', 1)] });
    expect(one.publish('t/a', 0)).toBe('allowed');
    expect(one.publish('t/a', 0)).toBe('allowed');
    expect(one.publish('t/a', 0)).toBe('rate_exceeded');
    expect(one.publish('t/b', 0)).toBe('allowed');
    expect(one.publish('t/b', 0)).toBe('rate_exceeded');
    expect(one.publish('t/c', 0)).toBe('rate_exceeded');
  });

  test('two that say the same are two', () => {
    const one = session({ s: [rated('t', 1), rated('t', 1)] });
    expect([0, 0, 0].map((nowMs) => one.publish('t', nowMs))).toEqual([
      'allowed',
      'allowed',
      'rate_exceeded',
    ]);
  });
});

test('a rule counts what was sent by it, whatever the topic', () => {
  const one = session({ s: [rated('t/#', 1)] });
  expect([one.publish('t/a', 0), one.publish('t/b', 0)]).toEqual(['allowed', 'rate_exceeded']);
});

test('a publish refused by its rule for another reason is not counted', () => {
  const one = session({ s: [{ ...rated('t', 1), max_qos: 0 }] });
  const tooHigh = { ...publish('t'), qos: 1 } as const;
  expect(decide(one.state.principal, tooHigh, 0)).toMatchObject({ reason: 'qos_too_high' });
  expect(one.publish('t', 0)).toBe('allowed');
});

// Naive: every rule has a purse of messages that fills up each millisecond.
test('what passes is what a purse for each rule pays for', () => {
  const rates = fc.constantFrom(0.5, 1, 2, 8);
  const rules = fc.array(
    fc.record({ topic: fc.constantFrom('a', 'b', '+'), rate: rates, burst: fc.integer({ min: 1, max: 3 }) }),
    { minLength: 1, maxLength: 4 },
  );
  const steps = fc.array(
    fc.record({ pauseMs: fc.constantFrom(0, 1, 125, 500, 1000, 2500), topic: fc.constantFrom('a', 'b') }),
    { maxLength: 30 },
  );
  fc.assert(
    fc.property(rules, steps, (given, tries) => {
      const one = session({ s: given.map(({ topic, rate, burst }) => rated(topic, rate, burst)) });
      const purses = given.map(({ burst }) => burst * 2000);
      let nowMs = 0;
      for (const { pauseMs, topic } of tries) {
        nowMs += pauseMs;
        given.forEach(({ rate, burst }, i) => {
          purses[i] = Math.min(burst * 2000, (purses[i] as number) + pauseMs * rate * 2);
        });
        const matching = given.flatMap((rule, i) => (rule.topic === '+' || rule.topic === topic ? [i] : []));
        const payer = matching.find((i) => (purses[i] as number) >= 2000);
        if (payer !== undefined) purses[payer] = (purses[payer] as number) - 2000;
        const expected =
          matching.length === 0 ? 'no_rule' : payer === undefined ? 'rate_exceeded' : 'allowed';
        expect(one.publish(topic, nowMs)).toBe(expected);
      }
    }),
  );
});

describe('what is left stays as it is', () => {
  const scopes = { s: [rated('t', 1)], more: [rated('m', 1)] };

  test('when the principal is renewed under the same policy', () => {
    const policy = policyOf(scopes);
    const grants = (held: string[]) => compileGrants(policy, { clientId: 'a', scopes: held, claims: {} });
    const one = session(scopes);
    one.state.principal = { ...one.state.principal, grants: grants(['s']) };
    expect(one.publish('t', 0)).toBe('allowed');
    one.state.principal = { ...one.state.principal, grants: grants(['more']) };
    expect(one.publish('t', 0)).toBe('no_rule');
    one.state.principal = { ...one.state.principal, grants: grants(['more', 's']) };
    expect(one.publish('t', 0)).toBe('rate_exceeded');
  });

  test('when the policy is read again and says the same', () => {
    const one = session(scopes);
    expect(one.publish('t', 0)).toBe('allowed');
    one.state.principal = principalOf({ ...scopes, s: [{ topic: 'new' }, rated('t', 1)] });
    expect(one.publish('t', 0)).toBe('rate_exceeded');
    expect(one.state.messageBuckets?.size).toBe(1);
  });

  test('but another rate begins anew', () => {
    const one = session(scopes);
    expect(one.publish('t', 0)).toBe('allowed');
    one.state.principal = principalOf({ s: [rated('t', 2)] });
    expect([0, 0, 0].map((nowMs) => one.publish('t', nowMs))).toEqual([
      'allowed',
      'allowed',
      'rate_exceeded',
    ]);
  });

  test('and no more buckets are kept than a policy has rules', () => {
    const one = session({});
    for (let n = 0; n < MAX_POLICY_RULES + 10; n += 1) {
      one.state.principal = principalOf({ s: [rated('t', 1, n + 1)] });
      expect(one.publish('t', 0)).toBe('allowed');
    }
    expect(one.state.messageBuckets?.size).toBe(MAX_POLICY_RULES);
  });
});

describe('on the wire', () => {
  const policy = policyOf({ s: [rated('devices/{client_id}/t', 0.001, 2)], other: [rated('o', 1)] });
  const tokenOf = (broker: { token(id: string, more: object): string }, scope = ['s']) =>
    broker.token('device-1', { scope: [...scope, 'mqtt:subscribe:#'] });
  const topic = 'devices/device-1/t';

  describe.each([0, 1, 2] as const)('QoS %i', (qos) => {
    attack('one message too many closes the connection and reaches nobody', { policy }, async (broker) => {
      const watcher = await broker.session(
        'watcher',
        {},
        broker.token('watcher', { scope: ['mqtt:subscribe:#'] }),
      );
      await subscribe(watcher, ['#']);
      const client = await broker.session('device-1', {}, tokenOf(broker));
      client.send(...['1', '2', '3'].map((payload) => publishPacket(topic, payload, { qos })));
      await client.closed;
      expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'rate_exceeded', topic });
      await watcher.settle();
      expect(payloads(watcher.received)).not.toContain('3');
    });
  });

  test('with denied_publish drop it is acknowledged and delivered to nobody', async () => {
    const broker = await startTestBroker({ policy, deniedPublish: 'drop' });
    const client = await broker.session('device-1', {}, tokenOf(broker));
    await subscribe(client, ['#']);
    for (const payload of ['1', '2', '3']) {
      client.send(publishPacket(topic, payload, { qos: 1 }));
      await client.next('puback');
    }
    await expect.poll(() => payloads(client.received)).toEqual(['1', '2']);
    await client.settle();
    expect(payloads(client.received)).toEqual(['1', '2']);
    expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'rate_exceeded' });
  });

  test.each<[string, string[]]>([
    ['with the same scopes', ['s']],
    ['with others and back', ['other']],
  ])('a renewal %s fills no bucket', async (_how, between) => {
    const broker = await startTestBroker({ policy });
    const client = await broker.session('device-1', {}, tokenOf(broker));
    const renew = async (scope: string[]) => {
      client.send(publishPacket('$fleetgate/token', tokenOf(broker, scope), { qos: 1 }));
      await client.next('puback');
    };
    for (const payload of ['1', '2']) {
      client.send(publishPacket(topic, payload, { qos: 1 }));
      await client.next('puback');
    }
    await renew(between);
    await renew(['s']);
    client.send(publishPacket(topic, '3', { qos: 1 }));
    await client.closed;
    expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'rate_exceeded' });
  });

  test('nor does a policy that is read again', async () => {
    const broker = await startTestBroker({ policy });
    const client = await broker.session('device-1', {}, tokenOf(broker));
    for (const payload of ['1', '2']) {
      client.send(publishPacket(topic, payload, { qos: 1 }));
      await client.next('puback');
    }
    await broker.auth.setPolicy(policyOf({ s: [rated('devices/{client_id}/t', 0.001, 2)] }));
    client.send(publishPacket(topic, '3', { qos: 1 }));
    await client.closed;
    expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'rate_exceeded' });
  });

  test('a will is not counted', async () => {
    const broker = await startTestBroker({ policy });
    const watcher = await broker.session(
      'watcher',
      {},
      broker.token('watcher', { scope: ['mqtt:subscribe:#'] }),
    );
    await subscribe(watcher, ['#']);
    const will = { topic, payload: Buffer.from('gone'), qos: 0, retain: false } as const;
    const client = await broker.session('device-1', { will }, tokenOf(broker));
    client.send(...['1', '2', '3'].map((payload) => publishPacket(topic, payload)));
    await client.closed;
    await until(() => payloads(watcher.received).includes('gone'));
  });
});
