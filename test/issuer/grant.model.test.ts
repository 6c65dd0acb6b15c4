import fc from 'fast-check';
import { expect, test } from 'vitest';
import { grantFor } from '../../issuer/grant.ts';
import type { ClientRecord } from '../../issuer/registry/registry.ts';
import type { TokenRequest } from '../../issuer/token-request.ts';
import { modelCovers } from '../shared/topic-model.ts';

/** A naive model of contract §6: splits strings, and tries every topic of a small alphabet. */

const settings = {
  defaultAudience: ['mqtt'],
  tokenLifetimeSeconds: 900,
  maxTokenLifetimeSeconds: 900,
  tokenClaims: [],
};

interface Client {
  readonly clientId: string;
  readonly group: string | undefined;
}

function fill(token: string, { clientId, group }: Client): string | undefined {
  if (token.includes('{group}') && group === undefined) return undefined;
  return token.replaceAll('{client_id}', clientId).replaceAll('{group}', group ?? '');
}

function isPermitted(pattern: string, name: string): boolean {
  const above = pattern.split('.').slice(0, -1);
  const parts = name.split('.');
  if (above[0] === 'fleetgate' || above.length === 0 || above.includes('') || above.includes('*'))
    return false;
  return (
    pattern.endsWith('.*') &&
    parts.length > above.length &&
    above.every((part, index) => part === parts[index]) &&
    parts.every((part) => part !== '' && part !== '*')
  );
}

function isAllowed(wanted: string, registered: readonly string[]): boolean {
  const [, action, filter] = /^mqtt:(\w+):(.*)$/.exec(wanted) ?? [];
  if (filter === undefined) {
    if (wanted.split('.').includes('*')) return false;
    return registered.some((one) => one === wanted || isPermitted(one, wanted));
  }
  return registered.some((one) => {
    const start = `mqtt:${action}:`;
    return one.startsWith(start) && modelCovers(one.slice(start.length), filter);
  });
}

function modelGrant(client: Client, registered: readonly string[], requested: readonly string[]): unknown {
  const filled = registered.map((token) => fill(token, client)).filter((token) => token !== undefined);
  if (requested.length === 0) {
    return new Set(filled.filter((token) => token.startsWith('mqtt:') || !token.split('.').includes('*')));
  }
  const wanted = requested.map((token) => fill(token, client));
  return wanted.every((token) => token !== undefined && isAllowed(token, filled))
    ? new Set(wanted)
    : 'invalid_scope';
}

function grant(client: Client, registered: readonly string[], requested: readonly string[]): unknown {
  const record = {
    ...client,
    scope: registered.join(' '),
    audience: [],
    grantTypes: ['client_credentials'],
    metadata: {},
  };
  const request = { grantType: 'client_credentials', scope: requested, audience: [] };
  try {
    const { scopes } = grantFor(
      record as unknown as ClientRecord,
      request as unknown as TokenRequest,
      settings,
    );
    return new Set(scopes);
  } catch (error) {
    return (error as { code: string }).code;
  }
}

const joined = (separator: string, ...elements: string[]) =>
  fc
    .array(fc.constantFrom(...elements), { minLength: 1, maxLength: 3 })
    .map((parts) => parts.join(separator))
    .filter((text) => text !== '');
const name = joined('.', 'a', 'b', '*', '', 'fleetgate');
const filter = fc
  .tuple(joined('/', 'a', 'b', '', '+', '$x', '{client_id}', '{group}'), fc.boolean())
  .map(([levels, isOpen]) => (isOpen ? `${levels.split('/').slice(0, 2).join('/')}/#` : levels));
const direct = fc
  .tuple(fc.constantFrom('publish', 'subscribe'), filter)
  .map(([action, text]) => `mqtt:${action}:${text}`);
const tokens = (maxLength: number) => fc.array(fc.oneof(name, direct), { maxLength });
const client = fc.record({ clientId: fc.constantFrom('a', 'b'), group: fc.constantFrom('a', undefined) });

/** Picks of what is registered: as it is, or what is below a pattern or filter of it. */
const picks = fc.array(fc.tuple(fc.nat(5), fc.constantFrom(undefined, 'a', 'a.b', 'a..b', '', '*')), {
  maxLength: 2,
});

function pick(registered: readonly string[], index: number, below: string | undefined): string[] {
  return registered
    .slice(index, index + 1)
    .map((token) => {
      if (below === undefined) return token;
      return token.startsWith('mqtt:') ? token.replace(/[+#]/, 'a') : token.replace(/\*$/, below);
    })
    .filter((token) => token !== '');
}

test('a token holds what the model grants: what was asked for, where it is registered, and never more', () => {
  const seen = { granted: 0, refused: 0 };
  fc.assert(
    fc.property(client, tokens(6), tokens(1), picks, (who, registered, foreign, own) => {
      const requested = [...own.flatMap(([index, below]) => pick(registered, index, below)), ...foreign];
      const expected = modelGrant(who, registered, requested);
      if (requested.length > 0) seen[expected === 'invalid_scope' ? 'refused' : 'granted'] += 1;
      expect(grant(who, registered, requested)).toEqual(expected);
    }),
    { numRuns: 5000 },
  );
  expect(Math.min(seen.granted, seen.refused)).toBeGreaterThan(500);
});
