import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished } from 'vitest';
import { attack, type TestBroker } from '../support/broker-fixture.ts';
import { connackOf, connectPacket } from '../support/broker-raw-client.ts';
import { type TestIssuer, testIssuer } from '../support/broker-tokens.ts';
import { inputOf, isRefused, signed } from './forged-token.ts';
import { A, B, victim } from './victim.ts';

describe('a key the token brings along or points to', () => {
  /** Serves `body` to whoever asks, and counts. */
  async function trap(body: () => unknown): Promise<{ url: string; hits: () => number }> {
    let hits = 0;
    const server = createServer((_request, response) => {
      hits += 1;
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body()));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, hits: () => hits };
  }

  type HeaderOf = (url: string, forger: TestIssuer) => Record<string, unknown>;
  const rows: [string, HeaderOf, string][] = [
    ['jwk', (_url, forger) => ({ jwk: forger.jwks().keys[0] }), 'token_signature_invalid'],
    [
      'jwk under its own kid',
      (_url, forger) => ({ jwk: forger.jwks().keys[0], kid: forger.kid }),
      'token_key_unknown',
    ],
    ['jku', (url) => ({ jku: `${url}/jwks.json` }), 'token_signature_invalid'],
    [
      'jku under its own kid',
      (url, forger) => ({ jku: `${url}/jwks.json`, kid: forger.kid }),
      'token_key_unknown',
    ],
    ['x5u', (url) => ({ x5u: `${url}/cert.pem` }), 'token_signature_invalid'],
    [
      'x5c',
      (_url, forger) => ({
        x5c: [forger.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')],
      }),
      'token_signature_invalid',
    ],
    [
      'all of them, and a kid that is the address',
      (url, forger) => ({ jwk: forger.jwks().keys[0], jku: url, x5u: url, x5c: [], kid: `${url}/jwks.json` }),
      'token_key_unknown',
    ],
    ['iss that is the address', (url) => ({ jku: url }), 'token_issuer_unknown'],
  ];
  for (const [name, headerOf, reason] of rows) {
    attack(`${name} is not followed`, {}, async (broker) => {
      const forger = testIssuer(broker.issuer.name);
      const { url, hits } = await trap(() => ({ ...forger.jwks(), issuer: url, jwks_uri: url }));
      const header = { kid: broker.issuer.kid, ...headerOf(url, forger) };
      const claims = name.startsWith('iss') ? { iss: url } : {};
      await isRefused(broker, forger.token({ clientId: A, header, claims }), reason);
      expect(hits()).toBe(0);
    });
  }
});

describe('a kid that means more than a name', () => {
  const kids: [string, unknown][] = [
    ['a path', '../../../../../../dev/null'],
    ['a file address', 'file:///dev/null'],
    ['SQL', "x' UNION SELECT 'AAAA' --"],
    ['a command', '$(id)'],
    ['257 characters', 'k'.repeat(257)],
    ['4,000 characters', 'k'.repeat(4_000)],
    ['an array', ['k']],
    ['a number', 0],
    ['true', true],
    ['null', null],
    ['an object', { toString: 'k' }],
    ['__proto__', '__proto__'],
    ['constructor', 'constructor'],
    ['a NUL', '\0'],
    ['empty', ''],
  ];
  for (const [name, kid] of kids) {
    attack(`${name}, signed by nobody`, {}, async (broker) => {
      const input = inputOf(broker, { kid });
      const mac = createHmac('sha512', '').update(input).digest();
      await isRefused(broker, signed(input, mac), 'token_key_unknown');
    });
  }
  const spellings: [string, (kid: string) => unknown][] = [
    ['in upper case', (kid) => kid.toUpperCase()],
    ['with a space behind', (kid) => `${kid} `],
    ['with a NUL behind', (kid) => `${kid}\0`],
    ['in an array', (kid) => [kid]],
  ];
  for (const [name, spell] of spellings) {
    attack(`the genuine kid ${name}`, {}, async (broker) => {
      const header = { kid: spell(broker.issuer.kid) };
      await isRefused(broker, broker.issuer.token({ clientId: A, header }), 'token_key_unknown');
    });
  }
});

describe('JSON that two readers would read differently, signed by the issuer', () => {
  const header = (broker: TestBroker) =>
    JSON.stringify({ alg: 'ES256', kid: broker.issuer.kid, typ: 'at+jwt' });
  /** What device B was given, to be rewritten. */
  const payload = (broker: TestBroker) =>
    Buffer.from(broker.token(B).split('.')[1] as string, 'base64url').toString();

  type Rewrite = (json: string) => string | Uint8Array;
  const rows: [string, Rewrite, string][] = [
    [
      'sub and client_id twice, A first',
      (json) => json.replace('{', `{"sub":"${A}","client_id":"${A}",`),
      'token_malformed',
    ],
    [
      'sub and client_id twice, A last',
      (json) => json.replace(/}$/, `,"sub":"${A}","client_id":"${A}"}`),
      'token_malformed',
    ],
    [
      'client_id again in an escaped spelling',
      (json) => json.replace('{', `{"client\\u005fid":"${A}",`),
      'token_malformed',
    ],
    ['__proto__ twice', (json) => json.replace('{', '{"__proto__":{},"__proto__":{},'), 'token_malformed'],
    ['a byte order mark', (json) => `\uFEFF${json}`, 'token_malformed'],
    ['UTF-16', (json) => Buffer.from(json, 'utf16le'), 'token_malformed'],
    [
      'invalid UTF-8 in a name',
      (json) => Buffer.from(json.replace('{', '{"\xff":1,'), 'latin1'),
      'token_malformed',
    ],
    [
      'overlong UTF-8 in a value',
      (json) => Buffer.from(json.replace('{', '{"x":"\xc0\xaf",'), 'latin1'),
      'token_malformed',
    ],
    [
      'a surrogate as UTF-8',
      (json) => Buffer.from(json.replace('{', '{"x":"\xed\xa0\x80",'), 'latin1'),
      'token_malformed',
    ],
    ['a comment', (json) => json.replace('{', '{/**/'), 'token_malformed'],
    ['a comma too many', (json) => json.replace(/}$/, ',}'), 'token_malformed'],
    ['NaN', (json) => json.replace(/"exp":\d+/, '"exp":NaN'), 'token_malformed'],
    ['a second object behind', (json) => `${json}{"sub":"${A}"}`, 'token_malformed'],
    ['a NUL behind', (json) => `${json}\0`, 'token_malformed'],
    ['an object inside an array', (json) => `[${json}]`, 'token_malformed'],
    ['exp 1e400', (json) => json.replace(/"exp":\d+/, '"exp":1e400'), 'token_claim_invalid'],
    ['exp -0', (json) => json.replace(/"exp":\d+/, '"exp":-0'), 'token_claim_invalid'],
    ['exp as a string', (json) => json.replace(/"exp":(\d+)/, '"exp":"$1"'), 'token_claim_invalid'],
    ['sub as an array', (json) => json.replaceAll(`"${B}"`, `["${A}"]`), 'token_claim_invalid'],
    ['sub with a newline behind', (json) => json.replaceAll(`"${B}"`, `"${A}\\n"`), 'token_claim_invalid'],
    ['sub with a NUL behind', (json) => json.replaceAll(`"${B}"`, `"${A}\\u0000"`), 'token_claim_invalid'],
    ['sub in Cyrillic', (json) => json.replaceAll(`"${B}"`, '"dеvice-a"'), 'token_claim_invalid'],
    [
      'sub with a lone surrogate',
      (json) => json.replaceAll(`"${B}"`, `"${A}\\ud800"`),
      'token_claim_invalid',
    ],
    ['sub with a wildcard', (json) => json.replaceAll(`"${B}"`, '"+"'), 'token_claim_invalid'],
    ['sub with a level', (json) => json.replaceAll(`"${B}"`, `"${B}/../${A}"`), 'token_claim_invalid'],
    [
      'sub of one and client_id of another',
      (json) => json.replace(`"sub":"${B}"`, `"sub":"${A}"`),
      'token_claim_invalid',
    ],
  ];
  for (const [name, rewrite, reason] of rows) {
    attack(name, {}, async (broker) => {
      await isRefused(broker, broker.issuer.tokenOf(header(broker), rewrite(payload(broker))), reason);
    });
  }

  const harmless: [string, Rewrite][] = [
    [
      'members of the object prototype',
      (json) =>
        json.replace(
          '{',
          `{"__proto__":{"client_id":"${A}","scp":["mqtt:subscribe:#"]},"constructor":{"prototype":{}},"toString":1,`,
        ),
    ],
    [
      'an unknown claim 1,000 deep',
      (json) => json.replace('{', `{"deep":${'['.repeat(1_000)}${']'.repeat(1_000)},`),
    ],
    [
      '500 unknown claims',
      (json) => json.replace('{', `{${Array.from({ length: 500 }, (_, i) => `"${i}":0`).join()},`),
    ],
    ['white space around', (json) => ` \n${json}\t`],
  ];
  for (const [name, rewrite] of harmless) {
    attack(`${name} give no more than without`, {}, async (broker) => {
      const device = await victim(broker);
      const token = broker.issuer.tokenOf(header(broker), rewrite(payload(broker)));
      const client = await broker.raw();
      expect(await connackOf(client, connectPacket(B, token))).toBe(0);
      expect(await broker.connack(A, token, { username: '' })).toBe(2);
      expect(Object.hasOwn(Object.prototype, 'client_id')).toBe(false);
      await device.unharmed();
    });
  }
});

describe('the text of a token', () => {
  const rows: [string, (token: string) => string | Uint8Array, string][] = [
    ['a Bearer prefix', (token) => `Bearer ${token}`, 'token_malformed'],
    ['two tokens with a space between', (token) => `${token} ${token}`, 'token_malformed'],
    ['five parts, as of JWE', (token) => `${token}.AAAA.AAAA`, 'token_malformed'],
    ['a NUL behind', (token) => `${token}\0`, 'token_malformed'],
    ['a newline behind', (token) => `${token}\n`, 'token_malformed'],
    ['a byte order mark before', (token) => `\uFEFF${token}`, 'token_malformed'],
    ['UTF-16', (token) => Buffer.from(token, 'utf16le'), 'token_malformed'],
    ['percent-encoding', (token) => token.replaceAll('.', '%2E'), 'token_malformed'],
    ['full-width dots', (token) => token.replaceAll('.', '．'), 'token_malformed'],
    [
      'the high bit of a character set',
      (token) => Buffer.from(token).map((byte, i) => (i === 4 ? byte | 0x80 : byte)),
      'token_malformed',
    ],
    ['padding', (token) => `${token}=`, 'token_malformed'],
    [
      'JSON serialization',
      (token) => {
        const [header, payload, signature] = token.split('.');
        return JSON.stringify({ payload, signatures: [{ protected: header, signature }] });
      },
      'token_malformed',
    ],
    ['8,193 bytes', (token) => `${token}${'A'.repeat(8193 - token.length)}`, 'token_too_long'],
    ['nothing', () => '', 'token_missing'],
  ];
  for (const [name, spell, reason] of rows) {
    attack(`with ${name} is no token`, {}, async (broker) => {
      await isRefused(broker, spell(broker.token(A)), reason);
    });
  }
});
