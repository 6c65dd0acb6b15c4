import { expect, test } from 'vitest';
import { startTestBroker } from '../support/broker-fixture.ts';

const publish = (topic: string) => ({ action: 'publish', topic, qos: 0, retain: false, bytes: 0 }) as const;

test('a token is verified as at a CONNECT, and then its grants decide', async () => {
  const { auth, token, issuer } = await startTestBroker();
  const good = token('a');
  expect(await auth.explainToken(good, publish('devices/a/x'))).toMatchObject({
    token: { clientId: 'a', issuer: issuer.name },
    explanation: { decision: { allowed: true } },
  });
  expect(await auth.explainToken(good, publish('devices/b/x'))).toMatchObject({
    explanation: { decision: { allowed: false, reason: 'no_rule' } },
  });
});

test.each<[string, (token: string) => string, string]>([
  ['no token', () => '', 'token_missing'],
  ['nonsense', () => 'nonsense', 'token_malformed'],
  ['letters of no alphabet', () => '\u{1F600}.a.b', 'token_malformed'],
  ['one that is too long', (token) => token + 'A'.repeat(100_000), 'token_too_long'],
  ['another signature', (token) => `${token.slice(0, -8)}AAAAAAAA`, 'token_signature_invalid'],
  [
    'other claims',
    (token) => token.replace(/\.[^.]+\./, `.${Buffer.from('{"cnf":7}').toString('base64url')}.`),
    'token_issuer_unknown',
  ],
])('of %s it is said why a CONNECT is refused', async (_what, forge, reason) => {
  const { auth, token } = await startTestBroker();
  const told = await auth.explainToken(forge(token('a')), publish('devices/a/x'));
  expect(told).toMatchObject({ refused: { returnCode: 4, reason } });
});

test('one that has expired, or was taken back, decides nothing', async () => {
  const { auth, token, issuer } = await startTestBroker();
  const seconds = Math.floor(Date.now() / 1000);
  const old = token('a', { claims: { iat: seconds - 100, nbf: seconds - 100, exp: seconds - 60 } });
  expect(await auth.explainToken(old, publish('devices/a/x'))).toMatchObject({
    refused: { reason: 'token_expired' },
  });
  const good = token('a', { claims: { jti: 'one' } });
  expect(await auth.explainToken(good, publish('devices/a/x'))).toHaveProperty('explanation');
  await auth.revoke(issuer.name, { kind: 'token', tokenId: 'one' });
  expect(await auth.explainToken(good, publish('devices/a/x'))).toMatchObject({
    refused: { reason: 'token_revoked' },
  });
});

test('one that is bound to a certificate is decided of as if that was shown, and said to be bound', async () => {
  const { auth, token, connack } = await startTestBroker();
  const bound = token('a', {
    claims: { cnf: { 'x5t#S256': 'A'.repeat(43) } },
  });
  expect(await connack('a', bound)).toBe(4);
  expect(await auth.explainToken(bound, publish('devices/a/x'))).toMatchObject({
    token: { certificateThumbprint: 'A'.repeat(43) },
    explanation: { decision: { allowed: true } },
  });
});
