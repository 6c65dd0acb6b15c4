import { checkForEngine, emqx, engineClaim, parsePolicy, ruleOptions } from '@fleetgate/broker';
import { matches } from '@fleetgate/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allTopics } from '../../shared/topic-model.ts';
import { type EmqxAcl, emqxDecides } from '../../support/emqx-model.ts';
import { attempts, brokerOf, policies, tokens } from './arbitrary.ts';

const engine = emqx();
const first = { permission: 'deny', action: 'all', topic: '$SYS/#' };
const session = { permission: 'allow', action: 'subscribe', topic: 'eq $fleetgate/session' };
const last = { permission: 'deny', action: 'all', topic: '#' };

type Claims = { scopes: string[]; clientId?: string; claims?: Record<string, unknown> };

function translate(scopes: object, claims: Claims, deny: object[] = []) {
  const policy = parsePolicy(JSON.stringify({ version: 1, scopes, deny }), 'policy.yaml');
  return engineClaim(engine, policy, { clientId: 'a', claims: {}, ...claims });
}

function problem(scopes: object, claims: Claims, deny: object[] = []) {
  const claim = translate(scopes, claims, deny);
  return 'refused' in claim ? claim.refused.map(({ words }) => words).join() : 'not refused';
}

describe('what a rule is in the claim', () => {
  test.each([
    ['publish', 'd/+/t/#', { topic: 'd/+/t/#' }],
    ['publish', { topic: 't', max_qos: 1, retain: false }, { topic: 't', qos: [0, 1], retain: false }],
    ['subscribe', 'd/+/t', { topic: 'd/+/t' }],
    ['subscribe', { topic: 'd/#', max_qos: 0 }, { topic: 'd/#', qos: [0] }],
    ['subscribe', { topic: 'd/#', broader: 'exact' }, { topic: 'eq d/#' }],
    ['subscribe', 'd/+', { topic: 'eq d/+' }],
    ['subscribe', 'd/+/#', { topic: 'eq d/+/#' }],
    ['subscribe', '+', { topic: 'eq +' }],
    ['subscribe', '+/#', { topic: '+/#' }],
    ['subscribe', '#', { topic: '#' }],
  ])('%s %j', (action, rule, said) => {
    expect(translate({ s: { [action]: [rule] } }, { scopes: ['s'] })).toMatchObject({
      value: [first, session, { permission: 'allow', action, ...said }, last],
    });
  });

  test('a deny of a publish stands before all rules, and only where it meets one', () => {
    const deny = [{ publish: ['d/x', 'e/#'] }];
    expect(translate({ s: { publish: ['d/#'] } }, { scopes: ['s'] }, deny)).toMatchObject({
      value: [
        first,
        { permission: 'deny', action: 'publish', topic: 'd/x' },
        session,
        { permission: 'allow', action: 'publish', topic: 'd/#' },
        last,
      ],
    });
  });

  test('a client that may do nothing is denied all', () => {
    expect(translate({}, { scopes: ['unknown'] })).toEqual({ value: [first, last], notes: [] });
  });
});

describe('what cannot be said is refused, with the reason', () => {
  test.each([
    ['publish', '$app/x', "begin with '$'"],
    ['subscribe', '$delayed/#', "begin with '$'"],
    ['publish', 'eq d/#', "'eq '"],
    ['subscribe', 'eq d', "'eq '"],
  ])('%s %s', (action, filter, words) => {
    const scopes = { s: { [action]: [filter] } };
    expect(problem(scopes, { scopes: ['s'] })).toContain(words);
    const policy = parsePolicy(JSON.stringify({ version: 1, scopes }), 'policy.yaml');
    const [note] = checkForEngine(engine, policy);
    expect(note).toMatchObject({ kind: 'refused', scope: 's', filter, action });
    expect(note?.source).toMatch(/^policy\.yaml:1:\d+$/);
  });

  test('a value or a direct scope that EMQX would fill in', () => {
    const scopes = { s: { publish: ['{claim:site}/#'] } };
    const claims = { site: `x-\${clientid}` };
    expect(problem(scopes, { scopes: ['s'], claims })).toContain('placeholder');
    expect(problem({}, { scopes: [`mqtt:publish:d/\${clientid}`] })).toContain('placeholder');
  });

  test('a deny of subscriptions that takes in a part of a rule', () => {
    const scopes = { s: { subscribe: ['d/#'] } };
    expect(problem(scopes, { scopes: ['s'] }, [{ subscribe: ['d/x'] }])).toContain('the deny d/x');
    expect(problem(scopes, { scopes: ['s'] }, [{ subscribe: ['d/#'] }])).toBe('not refused');
  });

  test.each([
    [{ max_payload_bytes: 9 }, 'max_payload_bytes: 9'],
    [{ max_messages_per_second: 2 }, 'max_messages_per_second: 2'],
  ])('an option that EMQX does not hold clients to, unless it is accepted: %j', (option, words) => {
    const scopes = { s: { publish: [{ topic: 't', ...option }] } };
    expect(problem(scopes, { scopes: ['s'] })).toContain(words);
    const policy = parsePolicy(JSON.stringify({ version: 1, scopes }), 'policy.yaml');
    const notes = checkForEngine(emqx({ acceptNotEnforced: ruleOptions }), policy);
    expect(notes).toMatchObject([{ kind: 'not_enforced', scope: 's', filter: 't' }]);
  });
});

test('EMQX never allows what decide refuses, and allows all of it where no note says otherwise', () => {
  const accepting = emqx({ acceptNotEnforced: ruleOptions });
  const met = new Map<string, number>();
  const meet = (what: string) => void met.set(what, (met.get(what) ?? 0) + 1);
  fc.assert(
    fc.property(
      policies(true),
      tokens,
      fc.array(attempts, { minLength: 12, maxLength: 12 }),
      (model, token, tries) => {
        const { policy, allows } = brokerOf(model, token);
        const claim = engineClaim(accepting, policy, token);
        if ('refused' in claim) {
          meet('refused');
          return;
        }
        const acl = claim.value as EmqxAcl[];
        const client = { clientid: token.clientId, username: token.clientId };
        const isNarrowed = claim.notes.some(({ kind }) => kind === 'narrowed');
        for (const { topic, filter, qos, retain } of tries) {
          const published = emqxDecides(acl, client, { action: 'publish', topic, qos, retain });
          meet(`publish ${published}`);
          // Sizes and rates are accepted as not enforced.
          expect(published === 'allow', topic).toBe(
            allows({ action: 'publish', topic, qos, retain, bytes: 0 }),
          );
          const subscribed = emqxDecides(acl, client, { action: 'subscribe', filter, qos });
          meet(`subscribe ${subscribed}`);
          // What falls through is for `no_match`, and is no topic that a wildcard reaches.
          if (published === 'no_match') expect(topic).toMatch(/^\$/);
          if (subscribed === 'no_match') expect(filter).toMatch(/^\$/);
          // A shared subscription is one to the filter in it.
          const asked = filter.replace('$share/g/', '');
          const isAllowed = allows({ action: 'subscribe', filter: asked, qos });
          if (subscribed === 'allow') expect(isAllowed, filter).toBe(true);
          else if (!isNarrowed) expect(isAllowed, filter).toBe(false);
          for (const sent of subscribed === 'allow' ? allTopics : []) {
            if (matches(asked, sent)) expect(allows({ action: 'receive', topic: sent })).toBe(true);
          }
        }
      },
    ),
    { numRuns: 1000 },
  );
  for (const what of ['publish allow', 'publish deny', 'subscribe allow', 'subscribe deny', 'refused']) {
    expect(met.get(what) ?? 0, what).toBeGreaterThan(30);
  }
});
