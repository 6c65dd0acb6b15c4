import { parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';
import { createAuthority } from '../../broker/authority.ts';
import { createRevocations } from '../../broker/revocation.ts';
import type { VerifiedToken } from '../../verifier/verified-token.ts';

const token: VerifiedToken = Object.freeze({
  clientId: 'a',
  issuer: 'https://issuer.example',
  tokenId: 'one',
  keyId: 'k',
  issuedAtSeconds: 1000,
  expiresAtSeconds: 1600,
  scopes: ['s'],
  claims: {},
});
const policyOf = (topic: string) =>
  parsePolicy(`version: 1\nscopes:\n  s: { publish: [ ${topic} ] }\n`, 'policy.yaml');
const revocations = () =>
  createRevocations({ maxLifetimeSeconds: 86_400, clockSkewSeconds: 5, now: () => 1_000_000 });
const authority = () =>
  createAuthority(async () => token, revocations(), { policy: policyOf('x'), clockSkewSeconds: 5 });

test('a principal is frozen and ends with its token, the clock skew added', async () => {
  const { principal } = await authority().admit(undefined, {});
  expect(principal).toMatchObject({ clientId: 'a', tokenId: 'one', expiresAtMs: 1_605_000 });
  expect(Object.isFrozen(principal)).toBe(true);
});

test('grants are compiled once for a token, and anew when the policy changes', async () => {
  const made = authority();
  const first = made.principalOf(token);
  expect(made.principalOf(token)).toBe(first);
  expect(first.grants.publish.map(({ filter }) => filter)).toEqual(['x']);
  made.policy = policyOf('y');
  expect(made.principalOf(token).grants.publish.map(({ filter }) => filter)).toEqual(['y']);
});
