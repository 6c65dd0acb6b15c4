import { createHmac, createPublicKey, sign } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startIssuer } from '@fleetgate/issuer';
import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import {
  type AssertionParts,
  assertionForm,
  type ClientKeyPair,
  clientAssertion,
  clientKeyPair,
} from '../support/client-assertion.ts';
import { rowsOf } from '../support/database.ts';
import {
  basic,
  hasApps,
  type IssuerFixture,
  issuerFixture,
  issuerOptions,
} from '../support/issuer-fixture.ts';

const nowMs = 1_700_000_000_500;
const nowSeconds = 1_700_000_000;
const pairs = {
  ES256: clientKeyPair('ES256'),
  EdDSA: clientKeyPair('EdDSA'),
  RS256: clientKeyPair('RS256'),
  PS256: clientKeyPair('PS256'),
};
const pair = pairs.ES256;

let fixture: IssuerFixture;
beforeEach(async () => {
  fixture = await issuerFixture({ now: () => nowMs });
  await fixture.register({ client_id: 'dev-1', scope: 'a', auth_method: 'private_key_jwt', jwks: pair.jwks });
});

const assertion = (parts: AssertionParts = {}, by: ClientKeyPair = pair, clientId = 'dev-1') =>
  clientAssertion(by, clientId, fixture.issuer.url, { nowMs, ...parts });

async function outcome(response: Response | Promise<Response>): Promise<string> {
  const answer = await response;
  const body = (await answer.json()) as Record<string, unknown>;
  return `${answer.status} ${body['error'] ?? typeof body['access_token']}`;
}
const ask = (text: string, more: Record<string, string> = {}, headers: Record<string, string> = {}) =>
  outcome(fixture.requestToken(assertionForm(text, more), headers));

describe('a token is got', () => {
  test.each(Object.keys(pairs) as (keyof typeof pairs)[])('by a key for %s', async (alg) => {
    const by = pairs[alg];
    await fixture.register({ client_id: alg, auth_method: 'private_key_jwt', jwks: by.jwks });
    const response = await fixture.requestToken(assertionForm(assertion({}, by, alg)));
    const { access_token } = (await response.json()) as { access_token: string };
    expect(decodeJwt(access_token)).toMatchObject({ client_id: alg, sub: alg });
    expect(decodeJwt(access_token)).not.toHaveProperty('cnf');
  });

  test.each<[string, (url: string) => AssertionParts, Record<string, string>?]>([
    ['for the token endpoint', (url) => ({ claims: { aud: `${url}/oauth/token` } })],
    ['for the other token endpoint', (url) => ({ claims: { aud: `${url}/auth/oauth/token` } })],
    ['for both in a list', (url) => ({ claims: { aud: [url, `${url}/oauth/token`] } })],
    ['without kid', () => ({ header: { kid: undefined } })],
    ['with typ JWT', () => ({ header: { typ: 'JWT' } })],
    ['with the typ that is for it', () => ({ header: { typ: 'client-authentication+jwt' } })],
    ['without iat and nbf', () => ({ claims: { iat: undefined, nbf: undefined } })],
    ['by a clock 25 s ahead', () => ({ claims: { iat: nowSeconds + 25, nbf: nowSeconds + 25 } })],
    ['that lives 5 minutes', () => ({ claims: { exp: nowSeconds + 300 } })],
    ['of a fraction of a second', () => ({ claims: { exp: nowSeconds + 60.25 } })],
    ['with client_id beside it', () => ({}), { client_id: 'dev-1' }],
  ])('by an assertion %s', async (_name, parts, more = {}) => {
    expect(await ask(assertion(parts(fixture.issuer.url)), more)).toBe('200 string');
  });

  test('in JSON too, and it revokes its token with another assertion', async () => {
    const response = await fixture.requestToken(JSON.stringify(assertionForm(assertion())), {
      'content-type': 'application/json',
    });
    const { access_token } = (await response.json()) as { access_token: string };
    const revoked = await fetch(`${fixture.issuer.url}/oauth/revoke`, {
      method: 'POST',
      body: new URLSearchParams({ ...assertionForm(assertion()), token: access_token }),
    });
    expect(revoked.status).toBe(200);
  });

  test('by either of two keys, named or not, and not by one of another algorithm', async () => {
    const second = clientKeyPair('ES256', 'k2');
    const third = clientKeyPair('EdDSA', 'k3');
    const keys = [pair, second, third].map(({ publicJwk }) => publicJwk);
    await fixture.register({ client_id: 'both', auth_method: 'private_key_jwt', jwks: { keys } });
    for (const by of [pair, second, third]) {
      expect(await ask(assertion({}, by, 'both'))).toBe('200 string');
      expect(await ask(assertion({ header: { kid: undefined } }, by, 'both'))).toBe('200 string');
    }
    expect(await ask(assertion({ header: { kid: 'k1' } }, second, 'both'))).toBe('401 invalid_client');
    expect(await ask(assertion({ header: { kid: 'k3' } }, second, 'both'))).toBe('401 invalid_client');
  });
});

/** What an attacker sends who has all but the private key, or an assertion that is not for us or not for now. */
describe('an attack is invalid_client', () => {
  const foreign = clientKeyPair('ES256');
  const spki = () => createPublicKey(pair.privateKey).export({ type: 'spki', format: 'pem' });
  const hmacBy = (secret: string | Buffer) => (input: Buffer) =>
    createHmac('sha256', secret).update(input).digest();
  const es384 = clientKeyPair('ES384');

  test.each<[string, () => AssertionParts, ClientKeyPair?]>([
    ['signed by a foreign key', () => ({}), foreign],
    ['no signature and alg none', () => ({ header: { alg: 'none' }, signature: () => Buffer.alloc(1) })],
    ['alg none in capitals', () => ({ header: { alg: 'NONE' } })],
    [
      'HS256 with the public key as the secret',
      () => ({ header: { alg: 'HS256' }, signature: hmacBy(spki()) }),
    ],
    [
      'HS256 with the public JWK as the secret',
      () => ({ header: { alg: 'HS256' }, signature: hmacBy(JSON.stringify(pair.publicJwk)) }),
    ],
    ['ES384', () => ({}), es384],
    ['ES384 named, ES256 made', () => ({ header: { alg: 'ES384' } })],
    ['RS256 for an EC key', () => ({ header: { alg: 'RS256' } }), pairs.RS256],
    ['an array for alg', () => ({ header: { alg: ['ES256'] } })],
    ['no alg', () => ({ header: { alg: undefined } })],
    ['a signature in DER', () => ({ signature: (input) => sign('sha256', input, pair.privateKey) })],
    ['a signature of zeros', () => ({ signature: () => Buffer.alloc(64) })],
    ['an empty-looking signature', () => ({ signature: () => Buffer.alloc(1) })],
    ['its own key along', () => ({ header: { jwk: foreign.publicJwk, kid: undefined } }), foreign],
    ['jku', () => ({ header: { jku: 'https://keys.example/' } })],
    ['x5u', () => ({ header: { x5u: 'https://keys.example/' } })],
    ['x5c', () => ({ header: { x5c: ['AAAA'] } })],
    ['crit', () => ({ header: { crit: ['exp'], exp: 1 } })],
    ['an unencoded payload', () => ({ header: { b64: false } })],
    ['another kid', () => ({ header: { kid: 'k2' } })],
    ['a kid that is a path', () => ({ header: { kid: '../../dev/null' } })],
    ['a kid that is a number', () => ({ header: { kid: 1 } })],
    ['the typ of an access token', () => ({ header: { typ: 'at+jwt' } })],
    ['the typ of a proof', () => ({ header: { typ: 'dpop+jwt' } })],
    ['a typ that is a number', () => ({ header: { typ: 1 } })],
    ['another iss', () => ({ claims: { iss: 'dev-2' } })],
    ['no iss', () => ({ claims: { iss: undefined } })],
    ['no sub', () => ({ claims: { sub: undefined } })],
    ['a sub that is a list', () => ({ claims: { sub: ['dev-1'] } })],
    ['another issuer for aud', () => ({ claims: { aud: 'https://other.example' } })],
    ['ours and another in aud', () => ({ claims: { aud: [fixture.issuer.url, 'https://other.example'] } })],
    ['aud with a slash behind', () => ({ claims: { aud: `${fixture.issuer.url}/` } })],
    ['aud that begins like ours', () => ({ claims: { aud: `${fixture.issuer.url}.evil.example` } })],
    ['the client itself for aud', () => ({ claims: { aud: 'dev-1' } })],
    ['no aud', () => ({ claims: { aud: undefined } })],
    ['an empty list for aud', () => ({ claims: { aud: [] } })],
    ['a nested list for aud', () => ({ claims: { aud: [[fixture.issuer.url]] } })],
    ['no exp', () => ({ claims: { exp: undefined } })],
    ['exp in the past', () => ({ claims: { exp: nowSeconds } })],
    ['exp 301 s ahead', () => ({ claims: { exp: nowSeconds + 301 } })],
    ['exp a year ahead', () => ({ claims: { exp: nowSeconds + 31_536_000 } })],
    ['exp in text', () => ({ claims: { exp: String(nowSeconds + 60) } })],
    ['exp below 0', () => ({ claims: { exp: -1 } })],
    ['nbf a minute ahead', () => ({ claims: { nbf: nowSeconds + 60 } })],
    ['iat a minute ahead', () => ({ claims: { iat: nowSeconds + 60 } })],
    ['made an hour ago', () => ({ claims: { iat: nowSeconds - 3600 } })],
    ['iat in text', () => ({ claims: { iat: 'now' } })],
    ['no jti', () => ({ claims: { jti: undefined } })],
    ['an empty jti', () => ({ claims: { jti: '' } })],
    ['a jti that is a number', () => ({ claims: { jti: 7 } })],
    ['sub twice', () => ({ retext: (text) => text.replace('{', '{"sub":"dev-1",') })],
    ['exp twice', () => ({ retext: (text) => text.replace('{', `{"exp":${nowSeconds + 9},`) })],
    ['a byte order mark', () => ({ retext: (text) => `\ufeff${text}` })],
    ['claims that are a list', () => ({ retext: (text) => `[${text}]` })],
    ['an exp of 1e400', () => ({ retext: (text) => text.replace(/"exp":\d+/, '"exp":1e400') })],
    ['a jti of 257 characters', () => ({ claims: { jti: 'x'.repeat(257) } })],
  ])('%s', async (_name, parts, by) => {
    expect(await ask(assertion(parts(), by))).toBe('401 invalid_client');
    // The client itself is still served.
    expect(await ask(assertion())).toBe('200 string');
  });

  test.each<[string, (text: string) => string]>([
    ['a line break behind', (text) => `${text}\n`],
    ['a fourth part', (text) => `${text}.AAAA`],
    ['padding', (text) => `${text}==`],
    ['two parts', (text) => text.slice(0, text.lastIndexOf('.'))],
    ['no signature', (text) => text.slice(0, text.lastIndexOf('.') + 1)],
    ['a changed payload', (text) => text.replace(/\.(.)/, (_all, first) => `.${first === 'e' ? 'f' : 'e'}`)],
    ['over 8 KiB', (text) => text + 'A'.repeat(8192)],
    ['none at all', () => 'x'],
  ])('an assertion with %s', async (_name, change) => {
    expect(await ask(change(assertion()))).toBe('401 invalid_client');
  });

  test('a changed unused bit of the signature, so that one assertion has one text', async () => {
    const text = assertion();
    // 64 bytes leave four bits of the last character unused.
    const last = text.at(-1) as string;
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const twin = alphabet[alphabet.indexOf(last) ^ 1] as string;
    expect(await ask(text.slice(0, -1) + twin)).toBe('401 invalid_client');
    expect(await ask(text)).toBe('200 string');
  });

  test('an assertion of another client', async () => {
    const other = clientKeyPair('ES256', 'k1');
    await fixture.register({ client_id: 'dev-2', auth_method: 'private_key_jwt', jwks: other.jwks });
    expect(await ask(assertion({}, other, 'dev-1'))).toBe('401 invalid_client');
    expect(await ask(assertion({}, pair, 'dev-2'))).toBe('401 invalid_client');
    expect(await ask(assertion(), { client_id: 'dev-2' })).toBe('400 invalid_request');
  });

  test.each([
    ['another type', { client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer' }],
    ['no type', { client_assertion_type: '' }],
    ['no assertion', { client_assertion: '' }],
  ])('with %s', async (_name, more) => {
    expect(await ask(assertion(), { client_id: 'dev-1', ...more })).toBe('401 invalid_client');
  });

  test('nothing in the assertion makes the issuer ask anywhere', async () => {
    let requests = 0;
    const trap = createServer((_request, response) => {
      requests += 1;
      response.end('{}');
    }).listen(0, '127.0.0.1');
    onTestFinished(() => void trap.close());
    await new Promise((resolve) => trap.once('listening', resolve));
    const url = `http://127.0.0.1:${(trap.address() as AddressInfo).port}/`;
    for (const header of [{ jku: url }, { x5u: url }, { kid: url }, { jwk: { jku: url } }]) {
      expect(await ask(assertion({ header }, foreign))).toBe('401 invalid_client');
    }
    expect(await ask(assertion({ claims: { iss: url, jwks_uri: url } }))).toBe('401 invalid_client');
    expect(requests).toBe(0);
  });
});

describe('an assertion is taken once', () => {
  test('of many at once', async () => {
    const text = assertion();
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => ask(text)));
    expect(outcomes.filter((one) => one === '200 string')).toHaveLength(1);
    expect(outcomes.filter((one) => one === '401 invalid_client')).toHaveLength(19);
  });

  test('also when the grant was refused, and at another endpoint', async () => {
    const text = assertion();
    expect(await ask(text, { scope: 'more' })).toBe('400 invalid_scope');
    expect(await ask(text)).toBe('401 invalid_client');
    const revoke = await fetch(`${fixture.issuer.url}/oauth/revoke`, {
      method: 'POST',
      body: new URLSearchParams({ ...assertionForm(text), token: 'x' }),
    });
    expect(revoke.status).toBe(401);
  });

  test('also when the client was in quarantine', async () => {
    const text = assertion();
    await fixture.call('POST', '/v1/clients/dev-1/quarantine', { reason: 'lost' });
    expect(await ask(text)).toBe('401 invalid_client');
    await fixture.call('POST', '/v1/clients/dev-1/release');
    expect(await ask(text)).toBe('401 invalid_client');
    expect(await ask(assertion())).toBe('200 string');
  });

  test('with the same jti signed anew, and by the jti of each client', async () => {
    const claims = { jti: 'one' };
    expect(await ask(assertion({ claims }))).toBe('200 string');
    expect(await ask(assertion({ claims: { ...claims, exp: nowSeconds + 200 } }))).toBe('401 invalid_client');
    await fixture.register({ client_id: 'dev-2', auth_method: 'private_key_jwt', jwks: pair.jwks });
    expect(await ask(assertion({ claims }, pair, 'dev-2'))).toBe('200 string');
  });

  test('also after a restart, by another process on the database, and when the client was made anew', async () => {
    const text = assertion();
    expect(await ask(text)).toBe('200 string');
    const options = issuerOptions(fixture.directory, { now: () => nowMs, url: fixture.issuer.url });
    const another = await startIssuer(options);
    const askAnother = () =>
      fetch(`http://127.0.0.1:${another.port}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams(assertionForm(text)),
      });
    expect(await outcome(askAnother())).toBe('401 invalid_client');
    await fixture.call('DELETE', '/v1/clients/dev-1');
    await fixture.register({ client_id: 'dev-1', auth_method: 'private_key_jwt', jwks: pair.jwks });
    expect(await outcome(askAnother())).toBe('401 invalid_client');
    await another.close();
  });

  test('is not used up by whoever cannot sign it', async () => {
    const claims = { jti: 'mine' };
    expect(await ask(assertion({ claims }, clientKeyPair('ES256')))).toBe('401 invalid_client');
    expect(await ask(assertion({ claims }))).toBe('200 string');
  });
});

describe('one method', () => {
  test.each<[string, Record<string, string>, Record<string, string>]>([
    ['a secret in the body', { client_id: 'dev-1', client_secret: 'x' }, {}],
    ['Basic', {}, basic('dev-1', 'x')],
  ])('in a request: %s beside an assertion is invalid_request', async (_name, more, headers) => {
    expect(await ask(assertion(), more, headers)).toBe('400 invalid_request');
  });

  test('for a client: the one it is registered for', async () => {
    const secret = await fixture.register({ client_id: 'secret' });
    expect(await ask(assertion({}, pair, 'secret'))).toBe('401 invalid_client');
    expect(await outcome(fixture.tokenFor(secret))).toBe('200 string');
    const post = await fixture.register({ client_id: 'post', auth_method: 'client_secret_post' });
    const grant = { grant_type: 'client_credentials' };
    for (const { client_id, client_secret } of [secret, post]) {
      expect(await outcome(fixture.requestToken(grant, basic(client_id, client_secret)))).toBe('200 string');
    }
    // Few enough that none has to wait.
    for (const client_secret of ['', 'undefined']) {
      const request = fixture.requestToken({ ...grant, client_id: 'dev-1', client_secret });
      expect(await outcome(request)).toBe('401 invalid_client');
      expect(await outcome(fixture.requestToken(grant, basic('dev-1', client_secret)))).toBe(
        '401 invalid_client',
      );
    }
  });
});

test.runIf(hasApps)(
  'an assertion for one app is not good for another, though client and key are the same',
  async () => {
    const apps = await Promise.all(
      ['one', 'two'].map(async (app_id) => {
        const made = await fixture.call('POST', '/v1/apps', { app_id });
        const { issuer, admin_key } = (await made.json()) as Record<string, string>;
        const registration = { client_id: 'dev-1', auth_method: 'private_key_jwt', jwks: pair.jwks };
        const headers = { 'api-key': admin_key as string };
        await fixture.call('POST', `/appid-${app_id}/v1/clients`, registration, headers);
        return issuer as string;
      }),
    );
    const askAt = (url: string, text: string) =>
      outcome(
        fetch(`${url}/oauth/token`, { method: 'POST', body: new URLSearchParams(assertionForm(text)) }),
      );
    const urls = [fixture.issuer.url, ...apps];
    for (const meant of urls) {
      const text = assertion({ claims: { aud: meant } });
      for (const url of urls.filter((one) => one !== meant)) {
        expect(await askAt(url, text)).toBe('401 invalid_client');
      }
      expect(await askAt(meant, text)).toBe('200 string');
    }
  },
);

test('the audit has why a proof was refused, and nothing of it', async () => {
  const text = assertion();
  await ask(text);
  await ask(text);
  await ask(assertion({}, clientKeyPair('ES256')));
  const rows = await rowsOf(fixture.database, 'SELECT * FROM audit ORDER BY sequence');
  const everything = JSON.stringify(rows);
  const issued = rows.filter(({ action }) => action === 'token.issue');
  expect(issued.map(({ target, result }) => [target, result])).toEqual([
    ['dev-1', 'ok'],
    ['dev-1', 'assertion_used'],
    ['dev-1', 'assertion_refused'],
  ]);
  for (const part of text.split('.')) expect(everything).not.toContain(part);
});

test('an unknown client and a wrong proof are answered alike, to the letter', async () => {
  const answers = [];
  for (const text of [
    assertion({}, clientKeyPair('ES256')),
    assertion({}, pair, 'nobody'),
    assertion({ header: { kid: 'k9' } }),
    assertion({ header: { alg: 'RS256' } }),
  ]) {
    const response = await fixture.requestToken(assertionForm(text));
    const { date: _date, ...headers } = Object.fromEntries(response.headers);
    answers.push({ headers, body: await response.text(), status: response.status });
  }
  for (const answer of answers) expect(answer).toEqual(answers[0]);
});
