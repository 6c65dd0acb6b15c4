import { MAX_SCOPE_LENGTH } from '@fleetgate/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type GrantSettings, grantFor } from '../../issuer/grant.ts';
import { checkRegisteredScope } from '../../issuer/registered-scope.ts';
import type { ClientRecord } from '../../issuer/registry/registry.ts';
import type { TokenRequest } from '../../issuer/token-request.ts';

const settings: GrantSettings = {
  defaultAudience: ['mqtt'],
  tokenLifetimeSeconds: 900,
  maxTokenLifetimeSeconds: 3600,
  tokenClaims: [],
};

const client = (more: Partial<ClientRecord> = {}): ClientRecord => ({
  registration: 1,
  clientId: 'dev-1',
  name: undefined,
  scope: '',
  audience: [],
  authMethod: 'client_secret_basic',
  grantTypes: ['client_credentials'],
  group: undefined,
  labels: {},
  metadata: {},
  tokenLifetimeSeconds: undefined,
  secrets: [],
  supertokens: {},
  revision: 1,
  quarantine: undefined,
  createdAtMs: 0,
  updatedAtMs: 0,
  ...more,
});

const request = (more: Partial<TokenRequest> = {}): TokenRequest => ({
  caller: { address: undefined, requestId: undefined },
  grantType: 'client_credentials',
  clientId: undefined,
  clientSecret: undefined,
  authorization: undefined,
  scope: undefined,
  audience: [],
  ...more,
});

function granted(registered: Partial<ClientRecord>, asked: Partial<TokenRequest>): unknown {
  try {
    const { scopes, audience } = grantFor(client(registered), request(asked), settings);
    return (asked.audience ?? asked.resource) === undefined ? scopes : audience;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

describe('scopes', () => {
  test.each<[string, string, TokenRequest['scope'], unknown]>([
    ['no scope means all that is registered', 'a b', undefined, ['a', 'b']],
    ['an empty scope counts as none', 'a b', '', ['a', 'b']],
    ['an empty list counts as none', 'a b', [], ['a', 'b']],
    ['part of what is registered is given alone', 'a b', 'b', ['b']],
    ['a list is as good as a string', 'a b', ['b', 'a'], ['b', 'a']],
    ['a scope asked for twice is given once', 'a', ['a', 'a'], ['a']],
    ['a scope that is not registered is refused', 'a', 'b', 'invalid_scope'],
    ['one scope too many refuses all', 'a b', 'a c', 'invalid_scope'],
    ['a client without scopes gets none', '', undefined, []],
    ['a client without scopes may ask for none', '', 'a', 'invalid_scope'],
    ['names are compared whole, not by prefix', 'event.create', 'event', 'invalid_scope'],
    ['names are compared whole, not by substring', 'event.create.admin', 'event.create', 'invalid_scope'],
    ['a pattern permits a name below it', 'event.*', 'event.create', ['event.create']],
    ['and one further below', 'event.*', 'event.a.b', ['event.a.b']],
    ['several names by one pattern', 'event.*', 'event.a event.b', ['event.a', 'event.b']],
    ['a pattern of several parts', 'a.b.*', 'a.b.c', ['a.b.c']],
    ['not the part above', 'event.*', 'event', 'invalid_scope'],
    ['not an empty part', 'event.*', 'event.', 'invalid_scope'],
    ['nor an empty part within', 'event.*', 'event.a..b', 'invalid_scope'],
    ['nor one at the end', 'event.*', 'event.a.', 'invalid_scope'],
    ['not what only begins alike', 'event.*', 'events.create', 'invalid_scope'],
    ['case counts in a pattern', 'event.*', 'Event.create', 'invalid_scope'],
    ['the pattern cannot be asked for', 'event.*', 'event.*', 'invalid_scope'],
    ['nor another below it', 'event.*', 'event.a.*', 'invalid_scope'],
    ['nor a name with a star in it', 'event.*', 'event.a*', 'invalid_scope'],
    ['nor below a pattern beside the name', 'event.* event.create', 'event.create event.*', 'invalid_scope'],
    ['no scope leaves patterns out', 'event.* a', undefined, ['a']],
    ['a pattern alone gives nothing unasked', 'event.*', undefined, []],
    ['a pattern of names never permits a filter', 'mqtt.*', 'mqtt:publish:a', 'invalid_scope'],
    ['a star that is no pattern permits nothing', 'a* * .* a.*.c *.b', 'ab', 'invalid_scope'],
    ['not even itself', 'a*', 'a*', 'invalid_scope'],
    ['nor is it given unasked', 'a* b', undefined, ['b']],
    [
      'a pattern does not reach what the issuer itself serves',
      'fleetgate.*',
      'fleetgate.revocations',
      'invalid_scope',
    ],
    ['a star asked for is no wildcard', 'event.create', 'event.*', 'invalid_scope'],
    ['case counts', 'a', 'A', 'invalid_scope'],
    ['two spaces are malformed', 'a b', 'a  b', 'invalid_scope'],
    ['an element that is two scopes is malformed', 'a b', ['a b'], 'invalid_scope'],
    ['an empty element is malformed', 'a', [''], 'invalid_scope'],
    ['a quote is malformed', 'a', 'a"', 'invalid_scope'],
    ['a control character is malformed', 'a', 'a\u0000', 'invalid_scope'],
    ['too many scopes are refused', 'a', Array.from({ length: 200 }, (_, i) => `s${i}`), 'invalid_scope'],
    ['a scope that is too long is refused', 'a', 'x'.repeat(MAX_SCOPE_LENGTH + 1), 'invalid_scope'],
    ['a list that is too long is refused', 'a', ['x'.repeat(MAX_SCOPE_LENGTH), 'y'], 'invalid_scope'],
    ['a narrower filter is covered', 'mqtt:publish:a/#', 'mqtt:publish:a/b', ['mqtt:publish:a/b']],
    ['a filter equal to the grant is covered', 'mqtt:publish:a/+', 'mqtt:publish:a/+', ['mqtt:publish:a/+']],
    ['a broader filter is refused', 'mqtt:publish:a/+', 'mqtt:publish:a/#', 'invalid_scope'],
    ['subscribing is not publishing', 'mqtt:publish:a/#', 'mqtt:subscribe:a/b', 'invalid_scope'],
    ['a named scope never allows a direct one', 'mqtt', 'mqtt:publish:a', 'invalid_scope'],
    ['a wildcard never covers a $ topic', 'mqtt:subscribe:#', 'mqtt:subscribe:$SYS/#', 'invalid_scope'],
    ['spellings of one filter are one', 'mqtt:publish:a%2Fb', 'mqtt:publish:a/b', ['mqtt:publish:a/b']],
    ['the client id is filled in', 'mqtt:publish:d/{client_id}/#', undefined, ['mqtt:publish:d/dev-1/#']],
    [
      'a percent-encoded placeholder too',
      'mqtt:publish:d/%7Bclient_id%7D',
      undefined,
      ['mqtt:publish:d/dev-1'],
    ],
    [
      'asked for as registered',
      'mqtt:publish:d/{client_id}/#',
      'mqtt:publish:d/{client_id}/#',
      ['mqtt:publish:d/dev-1/#'],
    ],
    [
      'asked for filled in',
      'mqtt:publish:d/{client_id}/#',
      'mqtt:publish:d/dev-1/x',
      ['mqtt:publish:d/dev-1/x'],
    ],
    [
      "another client's topic is refused",
      'mqtt:publish:d/{client_id}/#',
      'mqtt:publish:d/dev-2/x',
      'invalid_scope',
    ],
    [
      'a prefix of the id is another client',
      'mqtt:publish:d/{client_id}',
      'mqtt:publish:d/dev-10',
      'invalid_scope',
    ],
    ['without a group its scopes do not apply', 'a mqtt:publish:g/{group}/#', undefined, ['a']],
    ['nor can they be asked for', 'a mqtt:publish:g/{group}/#', 'mqtt:publish:g/{group}/#', 'invalid_scope'],
  ])('%s', (_rule, registered, asked, expected) => {
    expect(granted({ scope: registered }, { scope: asked })).toEqual(expected);
  });

  test('the group is filled in', () => {
    expect(granted({ scope: 'mqtt:subscribe:g/{group}/{client_id}', group: 'plant.7' }, {})).toEqual([
      'mqtt:subscribe:g/plant.7/dev-1',
    ]);
  });

  test('no client id or group can widen a filter', () => {
    const identifier = fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/);
    fc.assert(
      fc.property(identifier, identifier, (clientId, group) => {
        const scope = 'mqtt:publish:d/{client_id}/{group}/x';
        const { scopes } = grantFor(client({ clientId, group, scope }), request(), settings);
        expect(scopes).toEqual([`mqtt:publish:d/${clientId}/${group}/x`]);
        expect(scopes[0]).not.toMatch(/[+#{}]/);
      }),
    );
  });
});

describe('audiences', () => {
  test.each<[string, string[], string[], unknown]>([
    ['none asked for: all that are registered', ['a', 'b'], [], ['a', 'b']],
    ['none registered: the default', [], [], ['mqtt']],
    ['the default may be asked for by name', [], ['mqtt'], ['mqtt']],
    ['one of those registered', ['a', 'b'], ['b'], ['b']],
    ['twice is once', ['a', 'b'], ['b', 'b'], ['b']],
    ['another is refused', ['a'], ['b'], 'invalid_target'],
    ['the default is not added to what is registered', ['a'], ['mqtt'], 'invalid_target'],
    ['no prefix', ['mqtt2'], ['mqtt'], 'invalid_target'],
    ['no longer one', ['mqtt'], ['mqtt2'], 'invalid_target'],
    ['no empty one', ['mqtt'], [''], 'invalid_target'],
    ['one too many refuses all', ['a'], ['a', 'b'], 'invalid_target'],
  ])('%s', (_rule, registered, asked, expected) => {
    expect(granted({ audience: registered }, { audience: asked })).toEqual(expected);
  });

  test.each<[string, string[], string[], unknown]>([
    [
      'a resource is an audience that is a URI',
      ['mqtt', 'https://a.example'],
      ['https://a.example'],
      ['https://a.example'],
    ],
    ['a URN is one too', ['urn:b'], ['urn:b'], ['urn:b']],
    [
      'so is one with a query',
      ['https://a.example/?b=c'],
      ['https://a.example/?b=c'],
      ['https://a.example/?b=c'],
    ],
    [
      'and one with an IPv6 address',
      ['https://[::1]:8443/x'],
      ['https://[::1]:8443/x'],
      ['https://[::1]:8443/x'],
    ],
    ['several', ['urn:a', 'urn:b', 'urn:c'], ['urn:c', 'urn:a'], ['urn:c', 'urn:a']],
    ['a slash more is another', ['https://a.example'], ['https://a.example/'], 'invalid_target'],
    ['a host in capitals is another', ['https://a.example'], ['https://A.example'], 'invalid_target'],
    ['no prefix', ['https://a.example/b'], ['https://a.example'], 'invalid_target'],
    ['a fragment is refused, registered or not', ['urn:a#b'], ['urn:a#b'], 'invalid_target'],
    ['an empty fragment too', ['urn:a#'], ['urn:a#'], 'invalid_target'],
    ['a name without a scheme is no URI', ['mqtt'], ['mqtt'], 'invalid_target'],
    ['nor is a path', ['/a'], ['/a'], 'invalid_target'],
    ['nor a scheme alone', ['urn:'], ['urn:'], 'invalid_target'],
    ['nor one with a space', ['urn:a b'], ['urn:a b'], 'invalid_target'],
    ['nor one with a control character', ['urn:a\n'], ['urn:a\n'], 'invalid_target'],
    ['one wrong one refuses all', ['urn:a'], ['urn:a', 'b'], 'invalid_target'],
  ])('%s', (_rule, registered, asked, expected) => {
    expect(granted({ audience: registered }, { resource: asked })).toEqual(expected);
  });

  test('audience and resource add up', () => {
    const asked = { audience: ['mqtt', 'urn:a'], resource: ['urn:a', 'urn:b'] };
    expect(granted({ audience: ['urn:b', 'urn:a', 'mqtt', 'x'] }, asked)).toEqual(['mqtt', 'urn:a', 'urn:b']);
  });
});

test('a grant type other than client_credentials is unsupported', () => {
  expect(granted({}, { grantType: 'password' })).toBe('unsupported_grant_type');
});

test('a client registered for other grants only is unauthorized', () => {
  expect(granted({ grantTypes: ['authorization_code'] }, {})).toBe('unauthorized_client');
});

test("no client's tokens live longer than the maximum, whatever it was registered with", () => {
  expect(grantFor(client({ tokenLifetimeSeconds: 3600 }), request(), settings).lifetimeSeconds).toBe(3600);
  expect(grantFor(client({ tokenLifetimeSeconds: 3601 }), request(), settings).lifetimeSeconds).toBe(3600);
});

test("the client's lifetime goes before the default", () => {
  expect(grantFor(client(), request(), settings).lifetimeSeconds).toBe(900);
  expect(grantFor(client({ tokenLifetimeSeconds: 60 }), request(), settings).lifetimeSeconds).toBe(60);
});

describe('at registration', () => {
  test.each([
    ['a named scope with braces', 'event.{x}'],
    ['a pattern', 'event.*'],
    ['a pattern of several parts', 'a.b.*'],
    ['a pattern that only begins like those of the issuer', 'fleetgates.*'],
    ['both placeholders', 'mqtt:publish:{group}/{client_id}/#'],
    ['a placeholder within a level', 'mqtt:publish:dev-{client_id}/x'],
  ])('%s is taken', (_rule, scope) => {
    expect(() => checkRegisteredScope(scope)).not.toThrow();
  });

  test.each([
    ['a misspelled placeholder', 'mqtt:publish:d/{clientid}/#'],
    ['an empty placeholder', 'mqtt:publish:d/{}/#'],
    ['a placeholder the broker alone knows', 'mqtt:publish:d/{claim:x}/#'],
    ['a malformed filter', 'mqtt:publish:a#'],
    ['an unknown action', 'mqtt:read:a'],
    ['two spaces', 'a  b'],
    ['a star alone', '*'],
    ['a star that is not a whole part', 'event.c*'],
    ['a star in the first part', '*.create'],
    ['a star in a middle part', 'event.*.create'],
    ['two stars', 'event.*.*'],
    ['a star behind another separator', 'event:*'],
    ['a pattern with an empty part', 'event..*'],
    ['a pattern that begins with one', '.event.*'],
    ['a pattern of nothing', '.*'],
    ['a pattern of what the issuer itself serves', 'fleetgate.*'],
    ['one further below', 'fleetgate.a.*'],
  ])('%s is refused', (_rule, scope) => {
    expect(() => checkRegisteredScope(scope)).toThrow(expect.objectContaining({ code: 'scope_malformed' }));
  });
});
