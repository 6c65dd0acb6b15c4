import { checkForEngine, engineClaim, parsePolicy, rabbitmq, ruleOptions } from '@fleetgate/broker';
import { isTopicFilter } from '@fleetgate/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allTopics } from '../../shared/topic-model.ts';
import {
  rabbitmqDelivers,
  rabbitmqPublishes,
  rabbitmqSubscribes,
  rabbitmqTopic,
} from '../../support/rabbitmq-model.ts';
import { attempts, brokerOf, policies, tokens } from './arbitrary.ts';

const engine = rabbitmq({ resourceServerId: 'rabbit' });

function translate(scopes: object, claims: { scopes: string[]; clientId?: string }, deny: object[] = []) {
  const policy = parsePolicy(JSON.stringify({ version: 1, scopes, deny }), 'policy.yaml');
  return engineClaim(engine, policy, { clientId: 'a', claims: {}, ...claims });
}

function topicScopes(scopes: object, claims: { scopes: string[]; clientId?: string }): unknown[] {
  const claim = translate(scopes, claims);
  if ('refused' in claim) throw new Error(claim.refused.map(({ words }) => words).join());
  return claim.value.filter(
    (scope) => String(scope).split('/').length === 3 && !String(scope).includes('%24'),
  );
}

function problem(scopes: object, claims: { scopes: string[]; clientId?: string }, deny: object[] = []) {
  const claim = translate(scopes, claims, deny);
  return 'refused' in claim ? claim.refused.map(({ words }) => words).join() : 'not refused';
}

describe('what a rule is in scopes', () => {
  test.each([
    ['publish', 'd/a/t', ['write:%2F/amq.topic/d.a.t']],
    ['publish', 'd/a/#', ['write:%2F/amq.topic/d.a', 'write:%2F/amq.topic/d.a.*']],
    ['publish', '/#', ['write:%2F/amq.topic/.*']],
    ['publish', 'd/ä %', ['write:%2F/amq.topic/d.%C3%A4%20%25']],
    ['subscribe', 'd/a', ['read:%2F/amq.topic/d.a']],
    ['subscribe', 'd/a/#', ['read:%2F/amq.topic/d.a', 'read:%2F/amq.topic/d.a.*']],
    ['subscribe', 'd/a/+', ['read:%2F/amq.topic/d.a.%2A']],
    ['subscribe', 'd/+/t/#', ['read:%2F/amq.topic/d.%2A.t.%23']],
    ['subscribe', '#', ['read:%2F/amq.topic/%23']],
  ])('%s %s', (action, filter, scopes) => {
    const expected = scopes.map((scope) => `rabbit.${scope}`);
    expect(topicScopes({ s: { [action]: [filter] } }, { scopes: ['s'] })).toEqual(expected);
  });

  test('a rule that takes only its very filter grants only that', () => {
    const scopes = { s: { subscribe: [{ topic: 'd/#', broader: 'exact' }] } };
    expect(topicScopes(scopes, { scopes: ['s'] })).toEqual(['rabbit.read:%2F/amq.topic/d.%23']);
  });

  test('a client that may do anything has its own two queues and the topic of its agent, and no pattern of them', () => {
    const claim = translate({ s: { publish: ['t'] } }, { scopes: ['s'], clientId: 'dev.1' });
    const rest = 'value' in claim ? claim.value.slice(1) : [];
    const queue = (qos: number) =>
      ['configure', 'write', 'read'].map((one) => `rabbit.${one}:%2F/mqtt-subscription-dev.1qos${qos}`);
    expect(rest).toEqual(['rabbit.read:%2F/amq.topic/%24fleetgate.session', ...queue(0), ...queue(1)]);
  });

  test('a client that may do nothing gets nothing', () => {
    expect(translate({}, { scopes: ['unknown'] })).toEqual({ value: [], notes: [] });
  });

  test('virtual host, exchange and prefix are as they are configured, and hold no pattern', () => {
    const other = rabbitmq({ resourceServerId: 'r', vhost: 'a*/b', exchange: 'x y', scopePrefix: 'p:' });
    const claim = engineClaim(other, undefined, { clientId: 'a', claims: {}, scopes: ['mqtt:publish:t'] });
    expect('value' in claim && claim.value[0]).toBe('p:write:a%2A%2Fb/x%20y/t');
  });
});

describe('what cannot be said is refused, with the reason', () => {
  test.each([
    ['publish', 'd/+/t', 'its * stands for any levels'],
    ['publish', '+', 'its * stands for any levels'],
    ['publish', '#', "begin with '$'"],
    ['publish', '$app/x', "begin with '$'"],
    ['publish', 'd/v1.2/t', "'.' in a topic for '/'"],
    ['publish', 'd/*', "'*' in a topic for '+'"],
    ['subscribe', '$app/#', "begin with '$'"],
    ['subscribe', 'd/v1.2/#', "'.' in a topic for '/'"],
    ['subscribe', 'd/*', "'*' in a topic for '+'"],
  ])('%s %s', (action, filter, words) => {
    const scopes = { s: { [action]: [filter] } };
    expect(problem(scopes, { scopes: ['s'] })).toContain(words);
    const policy = parsePolicy(JSON.stringify({ version: 1, scopes }), 'policy.yaml');
    const [note] = checkForEngine(engine, policy);
    expect(note).toMatchObject({ kind: 'refused', scope: 's', filter, action });
    expect(note?.source).toMatch(/^policy\.yaml:1:\d+$/);
    expect(problem({}, { scopes: [`mqtt:${action}:${filter}`] })).toContain(words);
  });

  test('a client id with a dot, where a rule puts it into a topic', () => {
    const scopes = { s: { publish: ['d/{client_id}/t'] } };
    expect(problem(scopes, { scopes: ['s'], clientId: 'press.1' })).toContain("'.' in a topic");
  });

  test('a deny that takes in a part of a rule', () => {
    const scopes = { s: { publish: ['d/#'], subscribe: ['d/#'] } };
    const words = 'the deny d/x takes in a part of it';
    expect(problem(scopes, { scopes: ['s'] }, [{ publish: ['d/x'] }])).toContain(words);
    expect(problem(scopes, { scopes: ['s'] }, [{ subscribe: ['d/x'] }])).toContain(words);
    expect(problem(scopes, { scopes: ['s', 'free'] }, [{ publish: ['d/x'], unless: ['free'] }])).toBe(
      'not refused',
    );
  });

  test('a scope of ours that RabbitMQ would read as one of its own', () => {
    for (const own of ['rabbit.write:*/*/*', 'rabbit.tag:administrator']) {
      expect(problem({}, { scopes: [own] })).toContain('a permission of its own');
    }
    expect(problem({}, { scopes: ['rabbit.telemetry', 'rabbitwrite:*/*', 'write:*/*'] })).toBe('not refused');
  });

  test.each([
    ['publish', { max_qos: 1 }, 'max_qos: 1'],
    ['publish', { retain: false }, 'retain: false'],
    ['publish', { max_payload_bytes: 9 }, 'max_payload_bytes: 9'],
    ['publish', { max_messages_per_second: 2 }, 'max_messages_per_second: 2'],
    ['subscribe', { max_qos: 0 }, 'max_qos: 0'],
  ])(
    'an option of %s that RabbitMQ does not hold clients to, unless it is accepted: %j',
    (action, option, words) => {
      const scopes = { s: { [action]: [{ topic: 't', ...option }] } };
      expect(problem(scopes, { scopes: ['s'] })).toContain(words);
      const accepting = rabbitmq({ resourceServerId: 'rabbit', acceptNotEnforced: ruleOptions });
      const policy = parsePolicy(JSON.stringify({ version: 1, scopes }), 'policy.yaml');
      expect(checkForEngine(accepting, policy)).toMatchObject([
        { kind: 'not_enforced', scope: 's', filter: 't' },
      ]);
    },
  );
});

/** As RabbitMQ reads it: a dot is a slash, and an asterisk a plus sign. */
const asRead = (filter: string) => filter.replaceAll('.', '/').replaceAll('*', '+');

test('RabbitMQ never allows what decide refuses, and allows all of it where no note says otherwise', () => {
  const met = new Map<string, number>();
  const meet = (what: string) => void met.set(what, (met.get(what) ?? 0) + 1);
  fc.assert(
    fc.property(
      policies(false),
      tokens,
      fc.array(attempts, { minLength: 12, maxLength: 12 }),
      (model, token, tries) => {
        const { policy, allows } = brokerOf(model, token);
        const claim = engineClaim(engine, policy, token);
        if ('refused' in claim) {
          meet('refused');
          return;
        }
        const scopes = claim.value as string[];
        const state = {
          scopes,
          prefix: 'rabbit.',
          vhost: '/',
          exchange: 'amq.topic',
          clientId: token.clientId,
        };
        const isNarrowed = claim.notes.some(({ kind }) => kind === 'narrowed');
        for (const { topic, filter, qos, retain, bytes } of tries) {
          const publishes = rabbitmqPublishes(state, topic);
          meet(`publish ${publishes}`);
          // A dot is read as a slash, and so the topic is another one.
          const asked = topic.replaceAll('.', '/');
          const attempt = { action: 'publish', topic: asked, qos, retain, bytes } as const;
          if (publishes) expect(allows(attempt), topic).toBe(true);
          else if (asked === topic) expect(allows(attempt), topic).toBe(false);
          const subscribes = rabbitmqSubscribes(state, filter, qos);
          meet(`subscribe ${subscribes}`);
          if (!subscribes) {
            if (!isNarrowed && !/[.*]/.test(filter)) {
              expect(allows({ action: 'subscribe', filter, qos }), filter).toBe(false);
            }
            continue;
          }
          if (isTopicFilter(asRead(filter))) {
            expect(allows({ action: 'subscribe', filter: asRead(filter), qos }), filter).toBe(true);
          }
          for (const sent of allTopics) {
            // Nobody with a token publishes there.
            if (sent.startsWith('$') || !rabbitmqDelivers(filter, sent)) continue;
            expect(allows({ action: 'receive', topic: rabbitmqTopic(sent) }), `${filter} ${sent}`).toBe(true);
          }
        }
      },
    ),
    { numRuns: 1000 },
  );
  for (const what of ['publish true', 'publish false', 'subscribe true', 'subscribe false', 'refused']) {
    expect(met.get(what) ?? 0, what).toBeGreaterThan(30);
  }
});

test('with all options accepted only they are exceeded', () => {
  const accepting = rabbitmq({ resourceServerId: 'rabbit', acceptNotEnforced: ruleOptions });
  fc.assert(
    fc.property(
      policies(true),
      tokens,
      fc.array(attempts, { minLength: 12, maxLength: 12 }),
      (model, token, tries) => {
        const { policy, allows } = brokerOf(model, token);
        const claim = engineClaim(accepting, policy, token);
        if ('refused' in claim) return;
        const scopes = claim.value as string[];
        const state = {
          scopes,
          prefix: 'rabbit.',
          vhost: '/',
          exchange: 'amq.topic',
          clientId: token.clientId,
        };
        for (const { topic, filter } of tries.filter((one) => !/[.*]/.test(one.topic + one.filter))) {
          const publish = { action: 'publish', topic, qos: 0, retain: false, bytes: 0 } as const;
          expect(rabbitmqPublishes(state, topic)).toBe(allows(publish));
          if (rabbitmqSubscribes(state, filter, 0)) {
            expect(allows({ action: 'subscribe', filter, qos: 0 }), filter).toBe(true);
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});
