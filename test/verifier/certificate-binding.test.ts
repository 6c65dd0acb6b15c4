import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { startTestBroker } from '../support/broker-fixture.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import { testVerifier } from '../support/verifier-fixture.ts';

const issuer = testIssuer();
const issuers = [{ issuer: issuer.name, keys: { jwks: issuer.jwks } }];
const thumbprintOf = (certificate: string) => createHash('sha256').update(certificate).digest('base64url');
const own = thumbprintOf('one');
const bound = (confirmation: unknown) => issuer.token({ claims: { cnf: confirmation } });

describe('a token bound to a certificate (RFC 8705 §3.1)', () => {
  test.each<[string, string | undefined, string]>([
    ['the connection that shows it', own, 'accepted'],
    ['one that shows none', undefined, 'token_binding_mismatch'],
    ['one that shows another', thumbprintOf('other'), 'token_binding_mismatch'],
    ['one that shows an empty thumbprint', '', 'token_binding_mismatch'],
    ['one whose thumbprint has one character more', `${own}A`, 'token_binding_mismatch'],
    ['one whose thumbprint is another in case', own.toLowerCase(), 'token_binding_mismatch'],
  ])('from %s', async (_what, certificateThumbprint, code) => {
    const { codeOf } = testVerifier({ issuers });
    expect(await codeOf(bound({ 'x5t#S256': own }), { certificateThumbprint })).toBe(code);
  });

  test('is judged for each connection, remembered or not', async () => {
    const { codeOf, verify } = testVerifier({ issuers });
    const token = bound({ 'x5t#S256': own });
    expect(await codeOf(token, { certificateThumbprint: own })).toBe('accepted');
    expect(await codeOf(token, { certificateThumbprint: thumbprintOf('thief') })).toBe(
      'token_binding_mismatch',
    );
    expect(await codeOf(token)).toBe('token_binding_mismatch');
    expect(await codeOf(token, { certificateThumbprint: own })).toBe('accepted');
    expect(verify.stats()).toMatchObject({ hits: 1, misses: 1 });
  });

  test('says to which', async () => {
    const { verify } = testVerifier({ issuers });
    const token = await verify(Buffer.from(bound({ 'x5t#S256': own })), { certificateThumbprint: own });
    expect(token.certificateThumbprint).toBe(own);
    expect(await verify(Buffer.from(issuer.token()))).not.toHaveProperty('certificateThumbprint');
  });

  test('is refused before its signature is checked', async () => {
    const { codeOf, verify } = testVerifier({ issuers });
    await codeOf(bound({ 'x5t#S256': own }));
    expect(verify.stats().misses).toBe(0);
  });
});

test('a device that shows no certificate is told to get another token', async () => {
  const broker = await startTestBroker();
  const token = broker.token('device-1', { claims: { cnf: { 'x5t#S256': own } } });
  expect(await broker.connack('device-1', token)).toBe(4);
  expect(await broker.refusal({ reason: 'token_binding_mismatch' })).toMatchObject({
    action: 'connect',
    returnCode: 4,
  });
});

test('a token that is not bound is taken from a connection with a certificate', async () => {
  const { codeOf } = testVerifier({ issuers });
  expect(await codeOf(issuer.token(), { certificateThumbprint: own })).toBe('accepted');
});

describe('a confirmation this broker cannot see is refused', () => {
  test.each<[string, unknown]>([
    ['null', null],
    ['empty', {}],
    ['a string', own],
    ['an array', [own]],
    ['a key of DPoP', { jkt: own }],
    ['a key of DPoP beside the certificate', { 'x5t#S256': own, jkt: own }],
    ['a whole key', { jwk: { kty: 'EC' } }],
    ['a kid', { kid: 'a' }],
    ['a SHA-1 thumbprint', { x5t: own }],
    ['a thumbprint in other letters', { 'X5T#S256': own }],
    ['a number', { 'x5t#S256': 1 }],
    ['an empty thumbprint', { 'x5t#S256': '' }],
    ['42 characters', { 'x5t#S256': own.slice(1) }],
    ['44 characters', { 'x5t#S256': `${own}A` }],
    ['base64 of another alphabet', { 'x5t#S256': `+${own.slice(1)}` }],
    ['a last character with unused bits', { 'x5t#S256': `${own.slice(0, 42)}B` }],
  ])('%s', async (_what, confirmation) => {
    const { codeOf } = testVerifier({ issuers });
    const { 'x5t#S256': shown } = Object(confirmation) as { 'x5t#S256'?: string };
    expect(await codeOf(bound(confirmation), { certificateThumbprint: shown ?? own })).toBe(
      'token_claim_invalid',
    );
  });
});
