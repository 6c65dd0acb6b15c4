import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { JsonWebKeySet } from '@fleetgate/shared';
import { connectAsync } from 'mqtt';
import { pino } from 'pino';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../cli/config/load.ts';
import type { Config } from '../../cli/config/schema.ts';
import { trustedIssuers } from '../../cli/config/trusted-issuers.ts';
import { dataDirectory } from '../../cli/data-directory.ts';
import { type Role, type Running, up } from '../../cli/up.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import { jsonServer } from '../support/verifier-fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'fleetgate-trust-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;

/** A file of these contents. */
function file(contents: string | object): string {
  files += 1;
  const path = join(folder, `file-${files}`);
  writeFileSync(path, typeof contents === 'string' ? contents : JSON.stringify(contents));
  return path;
}

/** The configuration of a broker alone that trusts these issuers, through a file as an operator has it. */
function configOf(
  issuers: readonly object[],
  roles: readonly Role[] = ['broker'],
  more: object = {},
): Config {
  // JSON is YAML.
  const config = file({
    broker: { trusted_issuers: issuers, listeners: [{ protocol: 'mqtt', port: 0 }] },
    admin: { port: 0 },
    ...more,
  });
  return loadConfig({ config }, roles).config;
}

async function start(config: Config, roles: readonly Role[]): Promise<Running> {
  files += 1;
  const running = await up(
    config,
    dataDirectory(join(folder, `data-${files}`)),
    pino({ level: 'silent' }),
    roles,
  );
  onTestFinished(() => running.close());
  return running;
}

/** `accepted`, or the CONNACK code. */
async function connack(url: string | undefined, clientId: string, token: string): Promise<string | number> {
  try {
    const client = await connectAsync(url as string, {
      clientId,
      password: token,
      username: clientId,
      reconnectPeriod: 0,
    });
    await client.endAsync();
    return 'accepted';
  } catch (error) {
    return (error as { code?: number }).code ?? String(error);
  }
}

test('a broker alone takes tokens of an issuer alone, whose keys it finds by its metadata', async () => {
  const issuer = await start(configOf([], ['issuer'], { issuer: { http: { port: 0 }, coap: { port: 0 } } }), [
    'issuer',
  ]);
  const apiKey = readFileSync(join(issuer.ready.data_dir, 'admin.key'), 'utf8').trim();
  const client = (await (
    await fetch(`${issuer.ready.admin}/v1/clients`, {
      method: 'POST',
      headers: { 'api-key': apiKey, 'content-type': 'application/json' },
      body: JSON.stringify({ client_id: 'sensor-1', scope: 'telemetry.write' }),
    })
  ).json()) as { client_secret: string };
  const answer = await fetch(`${issuer.ready.issuer}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: 'sensor-1',
      client_secret: client.client_secret,
    }),
  });
  const { access_token: token } = (await answer.json()) as { access_token: string };

  const broker = await start(configOf([{ issuer: issuer.ready.issuer }]), ['broker']);
  expect(await connack(broker.ready.mqtt, 'sensor-1', token)).toBe('accepted');
  expect(await connack(broker.ready.mqtt, 'sensor-1', `${token.slice(0, -4)}AAAA`)).toBe(4);
});

test('each key of a trusted issuer comes to the broker', async () => {
  const [served, filed, own] = [
    testIssuer('https://served.example'),
    testIssuer('https://filed.example', 'EdDSA'),
    testIssuer('https://own.example', 'RS256'),
  ];
  const server = await jsonServer((path) => ({ body: path === '/own' ? own.jwks() : served.jwks() }));
  const { ready } = await start(
    configOf([
      {
        issuer: served.name,
        jwks_uri: `${server.origin}/`,
        audience: 'edge',
        profile: 'supertokens',
        max_stale_seconds: 60,
      },
      { issuer: filed.name, jwks_file: file(filed.jwks()), algorithms: ['EdDSA'] },
      {
        issuer: own.name,
        jwks_uri: `${server.origin}/own`,
        types: ['JWT'],
        claims: { client_id: 'azp', scope: 'permissions', group: 'site' },
      },
    ]),
    ['broker'],
  );
  const connacks = (issuer: typeof served, claims: object, header = {}) =>
    connack(ready.mqtt, 'device-1', issuer.token({ claims: { ...claims }, header }));
  expect(await connacks(served, { aud: ['edge'], client_id: undefined }, { typ: 'JWT' })).toBe('accepted');
  expect(await connacks(served, {})).toBe(4);
  expect(await connacks(filed, {})).toBe('accepted');
  const claims = { client_id: undefined, sub: 'x', azp: 'device-1', permissions: ['a'], scp: undefined };
  expect(await connacks(own, claims, { typ: 'JWT' })).toBe('accepted');
  expect(await connacks(own, claims)).toBe(4);
});

test('the configuration is that of the broker', () => {
  const issuer = testIssuer();
  const mapped = (configured: object) => trustedIssuers(configOf([configured]).broker.trusted_issuers)[0];
  expect(mapped({ issuer: 'https://one.example' })).toEqual({
    issuer: 'https://one.example',
    keys: { discover: true },
  });
  expect(
    mapped({
      issuer: 'https://one.example',
      jwks_uri: 'https://one.example/keys',
      audience: 'edge',
      algorithms: ['RS256'],
      profile: 'supertokens',
      max_stale_seconds: 0,
    }),
  ).toEqual({
    issuer: 'https://one.example',
    keys: { jwksUri: 'https://one.example/keys' },
    audience: 'edge',
    algorithms: ['RS256'],
    profile: 'supertokens',
    maxStaleSeconds: 0,
  });
  expect(
    mapped({
      issuer: 'https://one.example',
      jwks_file: file(issuer.jwks()),
      claims: { scope: 'permissions' },
      types: ['jwt'],
    }),
  ).toEqual({
    issuer: 'https://one.example',
    keys: { keySet: issuer.jwks() },
    profile: { scope: 'permissions', types: ['jwt'] },
  });
});

test('a file of keys is beside the configuration that names it', () => {
  const issuer = testIssuer();
  const keys = file(issuer.jwks());
  const config = file(
    `broker:\n  trusted_issuers:\n    - { issuer: 'https://one.example', jwks_file: ${keys.slice(dirname(keys).length + 1)} }\n`,
  );
  const { broker } = loadConfig({ config }, ['broker']).config;
  expect(trustedIssuers(broker.trusted_issuers)).toHaveLength(1);
});

describe('a mistake names the key and the mend', () => {
  const one = { issuer: 'https://one.example' };
  const uri = 'https://one.example/keys';
  test.each<[string, object[], RegExp]>([
    [
      'an http issuer without keys',
      [{ issuer: 'http://one.example' }],
      /trusted_issuers\.0\.issuer must be https.*jwks_uri/,
    ],
    [
      'an http address of keys',
      [{ ...one, jwks_uri: 'http://one.example/keys' }],
      /0\.jwks_uri must be https/,
    ],
    [
      'keys at two places',
      [{ ...one, jwks_uri: uri, jwks_file: 'keys.json' }],
      /0 has both jwks_uri and jwks_file/,
    ],
    [
      'claims beside supertokens',
      [{ ...one, profile: 'supertokens', claims: { group: 'site' } }],
      /0 has claims or types/,
    ],
    [
      'types beside supertokens',
      [{ ...one, profile: 'supertokens', types: ['jwt'] }],
      /0 has claims or types/,
    ],
    [
      'stale keys of a file',
      [{ ...one, jwks_file: 'keys.json', max_stale_seconds: 1 }],
      /0\.max_stale_seconds/,
    ],
    ['an issuer twice', [one, { ...one, jwks_uri: uri }], /trusted_issuers\.1\.issuer .*already/],
    ['a claim nobody knows', [{ ...one, claims: { scopes: 'permissions' } }], /'scope'/],
    ['a negative time', [{ ...one, max_stale_seconds: -1 }], /max_stale_seconds/],
    ['a profile with a typing error', [{ ...one, profile: 'supertoken' }], /'supertokens'/],
  ])('%s', (_what, issuers, words) => {
    const load = () => configOf(issuers);
    expect(load).toThrow(expect.objectContaining({ code: 'config_invalid' }));
    expect(load).toThrow(words);
  });

  test('the issuer of this process is trusted already', () => {
    const both: Role[] = ['issuer', 'broker'];
    const load = () => configOf([one], both, { issuer: { url: 'https://one.example/' } });
    expect(load).toThrow(/0\.issuer https:\/\/one\.example is trusted already/);
  });

  test.each<[string, () => object, RegExp]>([
    ['a file that is not there', () => ({ jwks_file: join(folder, 'missing') }), /missing \(ENOENT\)/],
    ['a file that is no JSON', () => ({ jwks_file: file('keys') }), /it is not JSON/],
    ['a file that is no key set', () => ({ jwks_file: file({}) }), /0\.jwks_file .*no JWK set/],
    [
      'a file of a private key',
      () => ({ jwks_file: file(privateSet()) }),
      /0\.jwks_file .*it is a private key/,
    ],
    [
      'a claim that means something else',
      () => ({ claims: { client_id: 'iss' } }),
      /0\.claims\.client_id cannot be iss/,
    ],
    ['a type that is none', () => ({ types: ['a b'] }), /0\.types/],
  ])('%s', (_what, more, words) => {
    const { broker } = configOf([{ ...one, ...more() }]);
    const map = () => trustedIssuers(broker.trusted_issuers);
    expect(map).toThrow(expect.objectContaining({ code: 'config_invalid' }));
    expect(map).toThrow(words);
  });
});

function privateSet(): JsonWebKeySet {
  const issuer = testIssuer();
  return { keys: [{ ...issuer.privateKey.export({ format: 'jwk' }), kid: 'a' } as never] };
}
