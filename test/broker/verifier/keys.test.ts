import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JsonWebKeySet } from '@fleetgate/shared';
import { expect, onTestFinished, test } from 'vitest';
import { createVerifier } from '../../../broker/verifier/verify.ts';
import { testIssuer } from '../../support/broker-tokens.ts';

async function keyServer(answer: () => { status: number; body: string }) {
  let requests = 0;
  const server = createServer((_request, response) => {
    requests += 1;
    const { status, body } = answer();
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { jwksUri: `http://127.0.0.1:${port}/jwks.json`, port, requests: () => requests };
}

function codes(issuer: string, keys: { jwksUri: string } | { jwks: () => JsonWebKeySet }) {
  const verify = createVerifier({
    issuers: [{ issuer, keys }],
    audience: 'mqtt',
    clockSkewSeconds: 5,
    now: Date.now,
  });
  return (token: string) =>
    verify(Buffer.from(token)).then(
      () => 'accepted',
      (error: { code: string }) => error.code,
    );
}

test('keys at a URL are fetched once for many tokens at once', async () => {
  const issuer = testIssuer();
  const server = await keyServer(() => ({ status: 200, body: JSON.stringify(issuer.jwks()) }));
  const codeOf = codes(issuer.name, server);
  const all = await Promise.all(Array.from({ length: 20 }, () => codeOf(issuer.token())));
  expect(new Set(all)).toEqual(new Set(['accepted']));
  expect(server.requests()).toBe(1);
});

test('a made-up kid is another thing than keys that cannot be had, and causes no storm of fetches', async () => {
  const issuer = testIssuer();
  const server = await keyServer(() => ({ status: 200, body: JSON.stringify(issuer.jwks()) }));
  const codeOf = codes(issuer.name, server);
  for (let i = 0; i < 10; i += 1) {
    expect(await codeOf(issuer.token({ header: { kid: `made-up-${i}` } }))).toBe('token_key_unknown');
  }
  expect(server.requests()).toBe(1);
});

test.each([
  ['answers 500', 500, '{}'],
  ['answers something else', 200, '<html>'],
  ['answers no key set', 200, '{"keys":1}'],
  ['redirects', 302, ''],
])('an issuer that %s makes its keys unavailable', async (_what, status, body) => {
  const issuer = testIssuer();
  const server = await keyServer(() => ({ status, body }));
  expect(await codes(issuer.name, server)(issuer.token())).toBe('keys_unavailable');
});

test('an issuer that is away makes its keys unavailable until it is back', async () => {
  const issuer = testIssuer();
  let isUp = false;
  const server = await keyServer(() => ({ status: isUp ? 200 : 503, body: JSON.stringify(issuer.jwks()) }));
  const codeOf = codes(issuer.name, server);
  expect(await codeOf(issuer.token())).toBe('keys_unavailable');
  isUp = true;
  expect(await codeOf(issuer.token())).toBe('accepted');
});

test('an address of keys in a token is never fetched', async () => {
  const issuer = testIssuer();
  const trap = await keyServer(() => ({ status: 200, body: JSON.stringify(testIssuer().jwks()) }));
  const codeOf = codes(issuer.name, { jwks: issuer.jwks });
  const header = { kid: 'attacker', jku: trap.jwksUri, x5u: trap.jwksUri, x5c: ['AAAA'] };
  expect(await codeOf(issuer.token({ header }))).toBe('token_key_unknown');
  expect(await codeOf(issuer.token({ header: { ...header, kid: issuer.kid } }))).toBe('accepted');
  expect(trap.requests()).toBe(0);
});

test('a key in this process counts as long as it is in the set', async () => {
  const [old, next] = [testIssuer(), testIssuer()];
  const set: JsonWebKeySet = { keys: [...old.jwks().keys] };
  const codeOf = codes(old.name, { jwks: () => structuredClone(set) });
  expect(await codeOf(old.token())).toBe('accepted');
  expect(await codeOf(next.token())).toBe('token_key_unknown');
  set.keys.push(...next.jwks().keys);
  expect([await codeOf(old.token()), await codeOf(next.token())]).toEqual(['accepted', 'accepted']);
  set.keys.shift();
  expect([await codeOf(old.token()), await codeOf(next.token())]).toEqual(['token_key_unknown', 'accepted']);
});

test('a kid that comes back with another key is the other key', async () => {
  const [old, next] = [testIssuer(), testIssuer()];
  const renamed = () => ({ keys: next.jwks().keys.map((key) => ({ ...key, kid: old.kid })) });
  let jwks = old.jwks;
  const codeOf = codes(old.name, { jwks: () => jwks() });
  expect(await codeOf(old.token())).toBe('accepted');
  jwks = renamed;
  expect(await codeOf(old.token())).toBe('token_signature_invalid');
  expect(await codeOf(next.token({ header: { kid: old.kid } }))).toBe('accepted');
});

test('a function of keys that throws makes them unavailable', async () => {
  const issuer = testIssuer();
  const jwks = () => {
    throw new Error('closed');
  };
  expect(await codes(issuer.name, { jwks })(issuer.token())).toBe('keys_unavailable');
});
