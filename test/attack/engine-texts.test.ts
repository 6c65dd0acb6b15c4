import {
  compileGrants,
  decide,
  emqx,
  engineClaim,
  parsePolicy,
  rabbitmq,
  ruleOptions,
} from '@fleetgate/broker';
import { directScopeToken, isTopicFilter, isTopicName } from '@fleetgate/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type EmqxAcl, emqxDecides } from '../support/emqx-model.ts';
import { rabbitmqPublishes, rabbitmqSubscribes } from '../support/rabbitmq-model.ts';

// Texts that RabbitMQ or EMQX could take for syntax of theirs, in policies, in values of placeholders and on the wire.

const odd = fc.constantFrom(
  ...['', '*', '%2A', '%2a', '%23', '%2F', '%2E', '%', '%%', '.', 'a.b', 'a*', 'a%20b', 'a b', ' '],
  ...[
    'eq a',
    'eq ',
    'EQ a',
    `\${clientid}`,
    `\${username}`,
    `\${`,
    `\${$}a`,
    '$',
    'a$',
    '%c',
    '%u',
    '{sub}',
    '{',
    '}',
  ],
  ...[
    '$SYS',
    '$share',
    '$queue',
    '$fleetgate',
    'ü',
    'u\u0308',
    'Ü',
    '\u{1f600}',
    '\u202ea',
    '\uFEFF',
    '\u00a0',
    '\u2028',
  ],
  ...['\ud800', 'a,b', '"', '\\', "'", '(', '!', '~', '[0-9]', '?', 'a|b', ':', 'read:'],
);
const plain = fc.constantFrom('a', 'b', 'A', 'ab');
const level = fc.oneof({ weight: 3, arbitrary: plain }, { weight: 2, arbitrary: odd });
const levels = (wild: readonly string[]) =>
  fc
    .tuple(
      fc.array(fc.oneof({ weight: 5, arbitrary: level }, fc.constantFrom(...wild)), {
        minLength: 1,
        maxLength: 3,
      }),
      fc.constantFrom('', '', '/#'),
    )
    .map(([parts, end]) => parts.join('/') + end);

const ruleFilter = levels(['+', '{client_id}', '{claim:site}', 'x{claim:site}']);
const asked = levels(['+', '#', '*']);
const text = fc.oneof(plain, odd);

/** What a text is made of by whoever guesses: a part in another spelling. */
const respelled = (of: string) =>
  fc.constantFrom(
    of,
    of.replaceAll('/', '.'),
    of.replaceAll('.', '/'),
    of.replaceAll('+', '*'),
    of.replaceAll('#', '*'),
    of.replaceAll('#', 'a/b'),
    of.replaceAll('+', 'a'),
    of.replaceAll('+', '#'),
    of.replaceAll('{client_id}', 'b'),
    of.replaceAll('a', 'A'),
    `/${of}`,
    `${of}/`,
    `$share/g/${of}`,
    encodeURI(of.toWellFormed()),
    of.replaceAll('%', '%25'),
    of.normalize('NFC'),
    of.normalize('NFD'),
  );

const cases = fc
  .record({
    publish: fc.array(ruleFilter, { maxLength: 2 }),
    subscribe: fc.array(ruleFilter, { maxLength: 2 }),
    deny: fc.array(ruleFilter, { maxLength: 1 }),
    direct: fc.array(asked, { maxLength: 1 }),
    site: text,
    clientId: fc.constantFrom('a', 'b', 'a-b', 'aqos0', '%2A', '~', 'a_b'),
  })
  .filter(({ publish, subscribe, deny, direct }) =>
    [...publish, ...subscribe, ...deny, ...direct].every((one) =>
      isTopicFilter(one.replaceAll(/\{[^}]*\}/g, 'x')),
    ),
  )
  .chain((model) =>
    fc.tuple(
      fc.constant(model),
      fc.array(
        fc.oneof(
          asked,
          ...[...model.publish, ...model.subscribe, ...model.direct]
            .flatMap((one) => [
              one,
              one.replaceAll('{client_id}', model.clientId).replaceAll('{claim:site}', model.site),
            ])
            .map(respelled),
        ),
        { minLength: 10, maxLength: 10 },
      ),
    ),
  );

const engines = {
  emqx: emqx({ acceptNotEnforced: ruleOptions }),
  rabbitmq: rabbitmq({ resourceServerId: 'r', acceptNotEnforced: ruleOptions }),
};

test('no text makes RabbitMQ or EMQX allow what decide refuses', () => {
  const met = new Map<string, number>();
  const meet = (what: string) => void met.set(what, (met.get(what) ?? 0) + 1);
  fc.assert(
    fc.property(cases, ([{ publish, subscribe, deny, direct, site, clientId }, tries]) => {
      let policy: ReturnType<typeof parsePolicy>;
      try {
        policy = parsePolicy(
          JSON.stringify({
            version: 1,
            scopes: { s: { publish, subscribe } },
            deny: [{ publish: deny, subscribe: deny }],
          }),
          'p.yaml',
        );
      } catch {
        meet('no policy');
        return;
      }
      const scopes = [
        's',
        ...direct.flatMap((one) => [directScopeToken('publish', one), directScopeToken('subscribe', one)]),
      ];
      const token = { clientId, scopes, claims: { site } };
      const grants = compileGrants(policy, token);
      const principal = { clientId, issuer: '', tokenId: '', expiresAtMs: 1, grants };
      const allows = (attempt: Parameters<typeof decide>[1]) => decide(principal, attempt, 0).allowed;

      const acl = engineClaim(engines.emqx, policy, token);
      if ('refused' in acl) meet('emqx refuses');
      else {
        for (const one of tries) {
          const filter = one.replace(/^(?:\$share\/[^/]*|\$queue)\//, '');
          const client = { clientid: clientId, username: clientId };
          const attempt = { topic: one, qos: 1, retain: false } as const;
          if (
            isTopicName(one) &&
            emqxDecides(acl.value as EmqxAcl[], client, { action: 'publish', ...attempt }) === 'allow'
          ) {
            meet('emqx publish');
            expect(allows({ action: 'publish', ...attempt, bytes: 0 }), one).toBe(true);
          }
          if (
            isTopicFilter(filter) &&
            emqxDecides(acl.value as EmqxAcl[], client, { action: 'subscribe', filter: one, qos: 1 }) ===
              'allow'
          ) {
            meet('emqx subscribe');
            expect(allows({ action: 'subscribe', filter, qos: 1 }), one).toBe(true);
          }
        }
      }

      const held = engineClaim(engines.rabbitmq, policy, token);
      if ('refused' in held) return meet('rabbitmq refuses');
      const state = {
        scopes: held.value as string[],
        prefix: 'r.',
        vhost: '/',
        exchange: 'amq.topic',
        clientId,
      };
      for (const one of tries) {
        // A dot is a slash there and an asterisk a plus sign, which docs/engines.md says.
        const topic = one.replaceAll('.', '/');
        if (isTopicName(topic) && !topic.includes('*') && rabbitmqPublishes(state, one)) {
          meet('rabbitmq publish');
          expect(allows({ action: 'publish', topic, qos: 1, retain: false, bytes: 0 }), one).toBe(true);
        }
        const filter = topic.replaceAll('*', '+');
        if (isTopicFilter(filter) && filter !== '$fleetgate/session' && rabbitmqSubscribes(state, one, 1)) {
          meet('rabbitmq subscribe');
          expect(allows({ action: 'subscribe', filter, qos: 1 }), one).toBe(true);
        }
      }
    }),
    { numRuns: 3000 },
  );
  for (const what of [
    'emqx publish',
    'emqx subscribe',
    'rabbitmq publish',
    'rabbitmq subscribe',
    'emqx refuses',
    'rabbitmq refuses',
  ]) {
    expect(met.get(what) ?? 0, what).toBeGreaterThan(100);
  }
});
