import { compileGrants, explain, formatExplanation, listGrants, parsePolicy } from '@fleetgate/broker';
import { parseScope } from '@fleetgate/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  aclClaimWords,
  foreignScopeWords,
  isAclClaim,
} from '../../../broker/authorization/foreign-syntax.ts';

const policy = parsePolicy('version: 1\nscopes:\n  s: { publish: [ a ] }\n', 'policy.yaml');

/** What the explanation of a refused publish notes of a token. */
function notesOf(scopes: string[], claims: Record<string, unknown> = {}): string[] {
  const grants = compileGrants(policy, { clientId: 'a', scopes, claims });
  expect(listGrants(grants)).toEqual({ publish: [], subscribe: [] });
  const who = { clientId: 'a', issuer: 'i', tokenId: 't', expiresAtMs: 1, grants };
  const attempt = { action: 'publish', topic: 'a', qos: 0, retain: false, bytes: 0 } as const;
  return [...explain(who, attempt, 0).notes];
}

describe('a RabbitMQ scope grants nothing, and its explanation names the nearest', () => {
  test.each<[string, string]>([
    ['write:%2F/amq.topic/devices.a.state', 'mqtt:publish:devices/a/state'],
    ['mqtt.write:%2F/amq.topic/devices.a.*', 'mqtt:publish:devices/a/#'],
    ['broker.prod.read:*/*/devices.*.state', 'mqtt:subscribe:devices/+/state'],
    ['read:*/*/devices.%2A.%23', 'mqtt:subscribe:devices/+/#'],
    ['read:%2F/mqtt-subscription-a', 'mqtt:subscribe:#'],
    ['rabbitmq.write:*/*', 'mqtt:publish:#'],
    ['write:*/*/*', 'mqtt:publish:#'],
    ['write:*/*/v1%2F2.x', 'mqtt:publish:v1.2/x'],
    ['write:*/*/a%20b', 'mqtt:publish:a%20b'],
    ['write:*/*/dev*', 'no topic filter says'],
    ['write:*/*/a.%23.b', 'no topic filter says'],
    ['write:*/*/%ZZ', 'no topic filter says'],
    ['read:*/*/$SYS.*', 'always refused'],
    ['rabbitmq.configure:*/*', 'leave it out'],
    ['rabbitmq.tag:administrator', 'leave it out'],
  ])('%s', (scope, words) => {
    const [note = ''] = notesOf([scope]);
    expect(note).toContain('RabbitMQ scope syntax: it grants nothing here');
    expect(note.split(' ').includes(words) || note.includes(words)).toBe(true);
  });

  test.each([
    'orders.read:all',
    'read',
    'write:',
    'a/b',
    'readx:*/*',
    'https://example.com/read',
    'tag:blue',
  ])('%s is not one', (scope) => {
    expect(foreignScopeWords(scope)).toBeUndefined();
  });

  test('unless the policy names it: then it is a name like any other', () => {
    const named = parsePolicy('version: 1\nscopes:\n  "read:*/*": { publish: [ a ] }\n', 'policy.yaml');
    const grants = compileGrants(named, { clientId: 'a', scopes: ['read:*/*'], claims: {} });
    expect(listGrants(grants)).toEqual({ publish: ['a'], subscribe: [] });
  });
});

describe("EMQX's claim acl grants nothing, and its explanation names the nearest", () => {
  const allow = (action: string, topic: string, more = {}) => ({
    permission: 'allow',
    action,
    topic,
    ...more,
  });
  test.each<[string, unknown, string[]]>([
    ['a rule to publish', [allow('publish', 't/a')], ['mqtt:publish:t/a']],
    ['a rule for both', [allow('all', 't')], ['mqtt:publish:t', 'mqtt:subscribe:t']],
    [
      'placeholders',
      [allow('publish', `c/\${clientid}/\${username}`)],
      ['mqtt:publish:c/{client_id}/{client_id}'],
    ],
    ['a placeholder we have not', [allow('publish', `c/\${cert_common_name}`)], ['no topic filter says']],
    ['an exact filter', [allow('subscribe', 'eq t/#')], ["subscribe: [ { topic: 't/#', broader: exact } ]"]],
    [
      'QoS and retain',
      [allow('publish', 't', { qos: [0, 1], retain: false })],
      ["publish: [ { topic: 't', max_qos: 1, retain: false } ]"],
    ],
    ['QoS 0 alone', [allow('subscribe', 't', { qos: [0] })], ['max_qos: 0']],
    [
      'a deny',
      [{ permission: 'deny', action: 'publish', topic: "it's" }],
      ["deny: [ { publish: [ 'it''s' ] } ]"],
    ],
    ['a malformed filter', [allow('publish', 'a#')], ['no topic filter says']],
    ['a reserved topic', [allow('subscribe', '$SYS/#')], ['always refused']],
    [
      'the map of lists',
      { pub: ['p/%c'], sub: ['s/%u'], all: ['b'] },
      ['mqtt:publish:p/{client_id}', 'mqtt:subscribe:s/{client_id}', 'mqtt:publish:b', 'mqtt:subscribe:b'],
    ],
    ['more than a page of them', { pub: Array.from({ length: 99 }, (_, n) => `t${n}`) }, ['and so on']],
    ['nothing we know', [1, null, 'x', {}, { permission: 'allow', action: 'fly', topic: 't' }], ['EMQX']],
    ['lists that are none', { pub: 'a', sub: [1] }, ['EMQX']],
  ])('%s', (_what, acl, words) => {
    const [note = ''] = notesOf([], { acl });
    expect(note).toContain('EMQX syntax: it grants nothing here');
    for (const word of words) expect(note).toContain(word);
  });

  test.each(['t', 7, null, {}, { topics: ['a'] }])('a claim acl that holds %j is not it', (acl) => {
    expect(notesOf([], { acl })).toEqual([]);
  });
});

test('an AIF scope of an issuer of names is explained', () => {
  const scope = Buffer.from('[["a",["pub"]]]').toString('base64url');
  expect(notesOf([scope])[0]).toContain('RFC 9431');
});

test('what is suggested is a scope that parses, whatever the scope and the claim hold', () => {
  const level = fc.oneof(
    fc.constantFrom('*', '%2A', '%23', 'a', '%', "'", '$SYS'),
    fc.string({ maxLength: 4 }),
  );
  const key = fc.array(level, { maxLength: 4 }).map((levels) => levels.join('.'));
  const topic = fc
    .array(fc.constantFrom('a', '/', '#', '+', `\${clientid}`, '%u', '$', '{', 'eq ', '\u001b', "'"), {
      maxLength: 6,
    })
    .map((parts) => parts.join(''));
  const acl = fc.oneof(
    fc.array(
      fc.oneof(
        fc.record({
          permission: fc.constantFrom('allow', 'deny'),
          action: fc.constantFrom('publish', 'subscribe', 'all'),
          topic,
          qos: fc.anything(),
        }),
        fc.anything(),
      ),
    ),
    fc.record({ pub: fc.array(topic), all: fc.anything() }),
  );
  fc.assert(
    fc.property(key, acl, (routingKey, claim) => {
      const words = [foreignScopeWords(`write:*/*/${routingKey}`) ?? ''];
      if (isAclClaim(claim)) words.push(aclClaimWords(claim));
      for (const part of words.flatMap((text) => text.split('; '))) {
        const [, scope] = /^the nearest is (mqtt:.*)$/.exec(part) ?? [];
        if (scope !== undefined) expect(parseScope(scope)).toHaveLength(1);
      }
    }),
    { numRuns: 500 },
  );
});

test('no control character of a token reaches the terminal', () => {
  const acl = [{ permission: 'deny', action: 'publish', topic: 'a\u001b[2Jb' }];
  const grants = compileGrants(policy, { clientId: 'a', scopes: ['\u001b[2J'], claims: { acl } });
  const who = { clientId: 'a', issuer: 'i', tokenId: 't', expiresAtMs: 1, grants };
  const attempt = { action: 'publish', topic: 'a\u009b', qos: 0, retain: false, bytes: 0 } as const;
  expect(formatExplanation(explain(who, attempt, 0))).not.toMatch(
    /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/,
  );
});
