import { describe, expect, test } from 'vitest';
import type {
  AuthenticationAttempt,
  ClientAuthContext,
  Proof,
} from '../../issuer/client-auth/client-auth.ts';
import { clientSecretBasic } from '../../issuer/client-auth/client-secret-basic.ts';
import { clientSecretPost } from '../../issuer/client-auth/client-secret-post.ts';
import { checkAuthMethod } from '../../issuer/client-auth/methods.ts';
import type { ClientRecord } from '../../issuer/registry/registry.ts';
import { findSecret, generateSecret, hashSecret, unusedSecret } from '../../issuer/secrets.ts';
import type { TokenRequest } from '../../issuer/token-request.ts';

const request = (more: Partial<TokenRequest>): TokenRequest => ({
  caller: { address: undefined, requestId: undefined },
  grantType: 'client_credentials',
  clientId: undefined,
  clientSecret: undefined,
  authorization: undefined,
  scope: undefined,
  audience: [],
  ...more,
});
const holding = (...secrets: string[]) =>
  ({
    secrets: secrets.map((secret) => unusedSecret({ hash: hashSecret(secret) }, { createdAtMs: 1 })),
  }) as unknown as ClientRecord;
const context = { now: () => 1000 } as ClientAuthContext;
const isProven = (attempt: AuthenticationAttempt | undefined, client: ClientRecord | undefined) =>
  (attempt?.prove(client, context) as Proof | undefined)?.isProven;

describe('client_secret_basic', () => {
  const basic = (text: string) =>
    clientSecretBasic(request({ authorization: `Basic ${Buffer.from(text).toString('base64')}` }));

  test.each([
    ['a plus sign is a space', 'a+b:s+t', 'a b', 's t'],
    ['percent-encoding is undone, colon included', 'a%3Ab:s%3At%25', 'a:b', 's:t%'],
    ['UTF-8 is decoded, escaped or not', '%C3%BC:ü', 'ü', 'ü'],
    ['only the first colon separates', 'a:s:t', 'a', 's:t'],
    ['the secret may be empty', 'a:', 'a', ''],
  ])('%s', (_rule, text, clientId, secret) => {
    const attempt = basic(text);
    expect(attempt?.clientId).toBe(clientId);
    expect(isProven(attempt, holding(secret))).toBe(true);
    expect(isProven(attempt, holding(`${secret}x`))).toBe(false);
  });

  test('is not used by a request without the header or with another scheme', () => {
    expect(clientSecretBasic(request({}))).toBeUndefined();
    expect(clientSecretBasic(request({ authorization: 'Bearer x' }))).toBeUndefined();
    expect(clientSecretBasic(request({ authorization: 'Basically x' }))).toBeUndefined();
  });
});

test('client_secret_post is used by whoever sends a secret, with or without an id', () => {
  expect(clientSecretPost(request({ clientId: 'a' }))).toBeUndefined();
  expect(isProven(clientSecretPost(request({ clientId: 'a', clientSecret: 's' })), holding('s'))).toBe(true);
  expect(clientSecretPost(request({ clientSecret: 's' }))?.clientId).toBe('');
});

describe('a secret', () => {
  test('is found among two, the new as well as the old, and no other is', () => {
    const { secrets } = holding('old', 'new');
    expect(['old', 'new', 'other'].map((one) => findSecret(one, secrets))).toEqual([
      secrets[0],
      secrets[1],
      undefined,
    ]);
  });

  test('proves its client until its end and not at it, and then only the audit learns why', () => {
    const until = (expiresAtMs: number) => ({
      ...holding(),
      secrets: [unusedSecret({ hash: hashSecret('s') }, { createdAtMs: 1, expiresAtMs })],
    });
    const attempt = clientSecretPost(request({ clientId: 'a', clientSecret: 's' }));
    expect(attempt?.prove(until(1001), context)).toMatchObject({ isProven: true });
    expect(attempt?.prove(until(1000), context)).toMatchObject({
      isProven: false,
      reason: { code: 'secret_expired' },
    });
  });

  test('proves nothing for a client without secrets or for no client', () => {
    expect(findSecret('', [])).toBeUndefined();
    expect(isProven(clientSecretPost(request({ clientId: 'a', clientSecret: 's' })), undefined)).toBe(false);
  });

  test('has 256 bits', () => {
    expect(Buffer.from(generateSecret(), 'base64url')).toHaveLength(32);
  });
});

test('a method that does not exist is not supported, whatever it is called', () => {
  for (const method of ['client_secret_jwt', 'none', '', 'toString', '__proto__']) {
    expect(() => checkAuthMethod(method)).toThrow(expect.objectContaining({ code: 'not_supported' }));
  }
});
