import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { clusterOptions } from '../../cli/config/cluster.ts';
import { loadConfig } from '../../cli/config/load.ts';

const folder = mkdtempSync(join(tmpdir(), 'fleetgate-cluster-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;

function file(contents: string, mode = 0o600): string {
  files += 1;
  const path = join(folder, `file-${files}`);
  writeFileSync(path, contents, { mode });
  return path;
}

/** `broker.cluster` of a configuration file as an operator has it. */
function load(cluster: object) {
  // JSON is YAML.
  const trusted = { issuer: 'https://issuer.example', jwks_file: file('{"keys":[]}') };
  const broker = { cluster, trusted_issuers: [trusted], listeners: [{ protocol: 'mqtt', port: 0 }] };
  const config = file(JSON.stringify({ broker, admin: { port: 0 } }));
  const { cluster: loaded } = loadConfig({ config }, ['broker']).config.broker;
  if (loaded === undefined) throw new Error('it was left out');
  return loaded;
}

const redis = 'redis://127.0.0.1:6379';

describe('a mistake is said with its key', () => {
  const missing = join(folder, 'missing');
  test.each<[string, object, RegExp]>([
    ['no URL', { redis: 'redis://[' }, /broker\.cluster\.redis .*redis:\/\/HOST:PORT/],
    ['of another scheme', { redis: 'http://127.0.0.1' }, /'redis' must match/],
    [
      'a password in the URL',
      { redis: 'redis://:canary@127.0.0.1' },
      /broker\.cluster\.redis .*password_file/,
    ],
    [
      'a database that is no number',
      { redis: `${redis}/zero` },
      /broker\.cluster\.redis .*number of a database/,
    ],
    ['options in the URL', { redis: `${redis}/0?tls=1` }, /broker\.cluster\.redis .*leave out/],
    ['a user name that is cut', { redis: 'redis://a%@127.0.0.1' }, /broker\.cluster\.redis .*%25/],
    ['authorities without TLS', { redis, tls_ca_file: file('x') }, /broker\.cluster\.tls_ca_file .*rediss/],
    ['authorities that are not there', { redis: 'rediss://h', tls_ca_file: missing }, /tls_ca_file.*ENOENT/],
    [
      'dead before frozen',
      { redis, frozen_after_seconds: 10, dead_after_seconds: 10 },
      /dead_after_seconds must be more/,
    ],
    ['a prefix with a colon', { redis, prefix: 'a:b' }, /'prefix' must match/],
    ['no sentinel', { redis, sentinel: { primary: 'x', nodes: [] } }, /'nodes' must NOT/],
    ['a key that is none', { redis, pasword_file: 'x' }, /password_file/],
  ])('%s', (_what, cluster, message) => {
    expect(() => load(cluster)).toThrow(message);
    expect(() => load(cluster)).not.toThrow(/canary/);
  });
});

describe('the password', () => {
  test('is that of the file, without the line end', () => {
    const cluster = load({ redis, password_file: file('secret\n') });
    expect(clusterOptions(cluster, { FLEETGATE_REDIS_PASSWORD: 'other' })).toMatchObject({
      password: 'secret',
    });
  });

  test('is that of the environment without a file, and none without both', () => {
    const cluster = load({ redis });
    expect(clusterOptions(cluster, { FLEETGATE_REDIS_PASSWORD: 'other' })).toMatchObject({
      password: 'other',
    });
    expect(clusterOptions(cluster, {})).not.toHaveProperty('password');
  });

  test('is that of the file that the environment names, whatever its mode', () => {
    const environment = { FLEETGATE_REDIS_PASSWORD_FILE: file('secret\n', 0o444) };
    expect(clusterOptions(load({ redis }), environment)).toMatchObject({ password: 'secret' });
    const both = { ...environment, FLEETGATE_REDIS_PASSWORD: 'other' };
    expect(() => clusterOptions(load({ redis }), both)).toThrow(/both FLEETGATE_REDIS_PASSWORD and/);
  });

  test('is not read from a file that others may read, nor from one that is missing', () => {
    expect(() => clusterOptions(load({ redis, password_file: file('secret', 0o644) }), {})).toThrow(
      /chmod 600/,
    );
    const missing = join(folder, 'missing');
    expect(() => clusterOptions(load({ redis, password_file: missing }), {})).toThrow(
      /broker\.cluster\.password_file/,
    );
  });
});

test('sentinels are where they are said to be, on the port of Sentinel where none is', () => {
  const sentinel = {
    primary: 'fleet',
    nodes: ['one.example', '127.0.0.1:26380', '[::1]:26381'],
    password_file: file('of-sentinel'),
  };
  expect(clusterOptions(load({ redis, sentinel }), {})).toMatchObject({
    sentinel: {
      primary: 'fleet',
      nodes: [
        { host: 'one.example', port: 26_379 },
        { host: '127.0.0.1', port: 26_380 },
        { host: '::1', port: 26_381 },
      ],
      password: 'of-sentinel',
    },
  });
});

test.each(['[', 'a:b:c', 'host:99999', 'a?b'])('a sentinel %s is a mistake, said with its key', (node) => {
  expect(() => load({ redis, sentinel: { primary: 'fleet', nodes: [node] } })).toThrow(
    /broker\.cluster\.sentinel\.nodes/,
  );
});
