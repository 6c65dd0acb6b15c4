import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { remoteIssuers } from '../../cli/remote-issuers.ts';
import { temporaryDirectory } from '../support/issuer-fixture.ts';

const issuer = 'https://auth.example.com';
let directory: string;
beforeEach(async () => {
  directory = await temporaryDirectory();
});
afterEach(() => rmSync(directory, { recursive: true }));

const secret = { method: 'client_secret_basic', client_secret: 'canary' };
const certificate = { method: 'tls_client_auth', cert_file: 'a.pem', key_file: 'a.key' };

function configured(changes: object) {
  const file = join(directory, 'feed.json');
  const credentials = { version: 1, client_id: 'feed', issuer, auth: secret, ...changes };
  writeFileSync(file, JSON.stringify(credentials), { mode: 0o600 });
  const one = { issuer, jwks_uri: `${issuer}/jwks.json`, credentials_file: file, algorithms: ['ES256'] };
  return remoteIssuers([one] as never, pino({ level: 'silent' }));
}

test('credentials of the issuer, with a secret, are good for its feed', async () => {
  expect(await configured({})).toMatchObject([{ issuer, revocations: expect.anything() }]);
});

test.each<[string, object, string]>([
  ['of another issuer', { issuer: 'https://other.example' }, 'is of issuer https://other.example'],
  ['by a certificate', { auth: certificate }, 'register a client with a secret'],
])('credentials %s are refused at the start, by their key and file', async (_what, changes, words) => {
  await expect(configured(changes)).rejects.toMatchObject({
    code: 'config_invalid',
    message: expect.stringContaining(words),
  });
  await expect(configured(changes)).rejects.toThrow(
    /^broker\.trusted_issuers\.0\.credentials_file .*feed\.json /,
  );
});
