import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { consoleOidc } from '../../cli/config/console.ts';
import { loadConfig } from '../../cli/config/load.ts';
import type { LoadedConfig } from '../../cli/config/read.ts';

function load(yaml: string): LoadedConfig {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-console-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const config = join(directory, 'fleetgate.yaml');
  writeFileSync(config, yaml);
  writeFileSync(join(directory, 'console.secret'), 'a-secret\n', { mode: 0o600 });
  return loadConfig({ config }, ['issuer'], {});
}

const oidc = (rest: string, url = 'https://fleet.example/console') => `console:
  url: ${url}
  oidc:
    issuer: https://login.example/realms/x
    client_id: console
    roles: { ops: admin }
${rest}`;

test('the redirect URI follows from the URL, and the secret is read', () => {
  const { config } = load(oidc('    client_secret_file: console.secret\n    scopes: [openid, email]\n'));
  expect(consoleOidc(config.console)).toEqual({
    consoleUrl: 'https://fleet.example/console/',
    issuer: 'https://login.example/realms/x',
    clientId: 'console',
    clientSecret: 'a-secret',
    scopes: ['openid', 'email'],
    roleClaim: 'roles',
    roles: { ops: 'admin' },
  });
  expect(consoleOidc(load('').config.console)).toBeUndefined();
  expect(consoleOidc(load(oidc('')).config.console)?.clientSecret).toBeUndefined();
});

test('a secret that others may read is refused', () => {
  const { config } = load(oidc('    client_secret_file: console.secret\n'));
  const file = config.console.oidc?.client_secret_file as string;
  chmodSync(file, 0o644);
  expect(() => consoleOidc(config.console)).toThrow(/console\.secret.*chmod 600/);
});

test.each<[string, string, RegExp]>([
  ['no URL of the console', oidc('').replace(/ {2}url: .*\n/, ''), /console\.oidc needs console\.url/],
  ['plain http beyond this machine', oidc('', 'http://fleet.example/console/'), /console\.url must be https/],
  ['a URL with a query', oidc('', 'https://fleet.example/console/?next=x'), /console\.url must be https/],
  ['a URL with a password', oidc('', 'https://a:b@fleet.example/'), /console\.url must be https/],
  [
    'a provider over plain http',
    oidc('').replace('https://login', 'http://login'),
    /console\.oidc\.issuer must be https/,
  ],
  ['no scope openid', oidc('    scopes: [profile]\n'), /console\.oidc\.scopes lacks openid/],
  ['a role that is none', oidc('').replace('ops: admin', 'ops: root'), /'ops' must be one of admin/],
  ['no role at all', oidc('').replace('{ ops: admin }', '{}'), /roles/],
  ['a key that is none', oidc('    client_secret: x\n'), /client_secret.*client_secret_file/s],
])('%s is told with its key', (_name, yaml, words) => {
  expect(() => load(yaml)).toThrow(words);
});
