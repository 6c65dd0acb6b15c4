import { execFile } from 'node:child_process';
import { createPublicKey, randomBytes, verify } from 'node:crypto';
import { chmod, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type RunningIssuer, startIssuer } from '@fleetgate/issuer';
import type { SigningAlgorithm } from '@fleetgate/shared';
import Sqlite from 'better-sqlite3';
import { calculateJwkThumbprint, createLocalJWKSet, type JWK, jwtVerify } from 'jose';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openKeyEncryption } from '../../issuer/key-encryption.ts';
import { joinedFromDer, openSigningKeys } from '../../issuer/keys.ts';
import { openSqliteRegistry } from '../../issuer/registry/sqlite/registry.ts';
import { issuerOptions, temporaryDirectory } from '../support/issuer-fixture.ts';

const claims = {
  iss: 'http://127.0.0.1',
  sub: 'a',
  client_id: 'a',
  aud: ['mqtt'],
  scp: [],
  scope: '',
  stt: 1 as const,
  jti: 'j',
  iat: 1,
  nbf: 1,
  exp: 4_000_000_000,
  gid: 'g',
};

async function open(directory: string, algorithm: SigningAlgorithm = 'ES256') {
  const registry = await openSqliteRegistry(join(directory, 'registry.db'));
  onTestFinished(() => registry.close());
  const keyEncryptionKeyFile = join(directory, 'kek');
  return {
    registry,
    keys: await openSigningKeys({ registry, keyEncryptionKeyFile, algorithm, now: Date.now }),
  };
}

async function start(directory: string, algorithm: SigningAlgorithm = 'ES256'): Promise<RunningIssuer> {
  const issuer = await startIssuer(issuerOptions(directory, { signingAlgorithm: algorithm }));
  onTestFinished(() => issuer.close());
  return issuer;
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: { code: string; message: string }) => error,
  );

test.each<[SigningAlgorithm, string]>([
  ['ES256', 'EC'],
  ['EdDSA', 'OKP'],
  ['RS256', 'RSA'],
])('%s tokens verify by the published key, whose kid is its thumbprint', async (algorithm, kty) => {
  const { keys } = await open(await temporaryDirectory(), algorithm);
  const [published] = keys.jwks().keys;
  expect(published).toMatchObject({ kty, alg: algorithm, use: 'sig' });
  expect(published?.kid).toBe(await calculateJwkThumbprint(published as JWK));
  expect(published).not.toHaveProperty('d');
  const { payload, protectedHeader } = await jwtVerify(
    keys.sign(claims),
    createLocalJWKSet(keys.jwks() as { keys: JWK[] }),
    { typ: 'at+jwt', algorithms: [algorithm] },
  );
  expect(payload).toEqual(claims);
  expect(protectedHeader).toEqual({ alg: algorithm, kid: published?.kid, typ: 'at+jwt' });
});

test('an ES256 signature is r‖s of 64 bytes whatever the lengths of r and s', async () => {
  const { keys } = await open(await temporaryDirectory());
  const key = createPublicKey({ key: keys.jwks().keys[0] as JWK, format: 'jwk' });
  // One in 256 has a leading zero in r, as many in s: 2,000 signatures as good as surely meet both.
  for (let i = 0; i < 2000; i += 1) {
    const token = keys.sign({ ...claims, jti: String(i) });
    const signature = Buffer.from(token.slice(token.lastIndexOf('.') + 1), 'base64url');
    const input = Buffer.from(token.slice(0, token.lastIndexOf('.')));
    expect(signature).toHaveLength(64);
    expect(verify('sha256', input, { key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
  }
});

test.each([
  ['both of full length', '3006020101020102', '01'.padStart(64, '0') + '02'.padStart(64, '0')],
  ['a sign byte in front', '30080202008002020081', '80'.padStart(64, '0') + '81'.padStart(64, '0')],
])('DER to r‖s: %s', (_name, der, joined) => {
  expect(joinedFromDer(Buffer.from(der, 'hex')).toString('hex')).toBe(joined);
});

test('a restart keeps the key', async () => {
  const directory = await temporaryDirectory();
  const first = await start(directory);
  const jwks = first.jwks();
  await first.close();
  expect((await start(directory)).jwks()).toEqual(jwks);
});

test('another algorithm makes a new active key and keeps the old public key published', async () => {
  const directory = await temporaryDirectory();
  const first = await start(directory, 'ES256');
  const [old] = first.jwks().keys;
  await first.close();
  const second = await start(directory, 'EdDSA');
  const { keys } = second.jwks();
  expect(keys.map(({ alg }) => alg)).toEqual(['EdDSA', 'ES256']);
  expect(keys[1]).toEqual(old);
  await second.close();
  expect((await start(directory, 'EdDSA')).jwks().keys).toEqual(keys);
});

test('issuers that start at once on a fresh directory end with one active key, by which all sign', async () => {
  const directory = await temporaryDirectory();
  const issuers = await Promise.all(Array.from({ length: 4 }, () => start(directory)));
  const sets = issuers.map((issuer) => issuer.jwks());
  for (const set of sets) expect(set).toEqual(sets[0]);
  expect(sets[0]?.keys).toHaveLength(1);
});

test('so do processes of their own', async () => {
  const directory = await temporaryDirectory();
  const script = new URL('../support/issuer-process.ts', import.meta.url).pathname;
  const outputs = await Promise.all(
    Array.from({ length: 3 }, () =>
      promisify(execFile)(process.execPath, ['--conditions=@fleetgate/source', script, directory]),
    ),
  );
  const sets = outputs.map(({ stdout }) => JSON.parse(stdout) as unknown);
  expect(sets[0]).toMatchObject({ keys: [{ alg: 'ES256' }] });
  for (const set of sets) expect(set).toEqual(sets[0]);
});

test('a key another process made is published too', async () => {
  const directory = await temporaryDirectory();
  const first = await start(directory, 'ES256');
  const second = await start(directory, 'EdDSA');
  const published = async () =>
    ((await (await fetch(`${first.url}/.well-known/jwks.json`)).json()) as { keys: { kid: string }[] }).keys;
  await expect
    .poll(async () => (await published()).map(({ kid }) => kid), { timeout: 15_000 })
    .toContain(second.jwks().keys[0]?.kid);
});

describe('the key file', () => {
  test('has 32 bytes and is for the owner only', async () => {
    const directory = await temporaryDirectory();
    await open(directory);
    const status = await stat(join(directory, 'kek'));
    expect([status.size, status.mode & 0o777]).toEqual([32, 0o600]);
  });

  test('missing while the database has keys is an error, and no new one is made', async () => {
    const directory = await temporaryDirectory();
    await (await open(directory)).registry.close();
    await rm(join(directory, 'kek'));
    expect(await failure(open(directory))).toMatchObject({ code: 'key_file_invalid' });
    await expect(stat(join(directory, 'kek'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test.each([0o640, 0o604, 0o660, 0o644])('of mode %o is refused with the chmod to run', async (mode) => {
    const directory = await temporaryDirectory();
    await (await open(directory)).registry.close();
    const file = join(directory, 'kek');
    await chmod(file, mode);
    expect(await failure(open(directory))).toMatchObject({
      code: 'key_file_invalid',
      message: expect.stringContaining(`chmod 600 ${file}`),
    });
  });

  test.each([
    ['another key', () => randomBytes(32)],
    ['too few bytes', () => randomBytes(31)],
    ['too many bytes', () => randomBytes(33)],
    ['no byte', () => Buffer.alloc(0)],
  ])('with %s is refused', async (_name, content) => {
    const directory = await temporaryDirectory();
    await (await open(directory)).registry.close();
    await writeFile(join(directory, 'kek'), content());
    expect(await failure(open(directory))).toMatchObject({ code: 'key_file_invalid' });
  });
});

describe('a private key in the database', () => {
  test('is not readable there', async () => {
    const directory = await temporaryDirectory();
    await (await open(directory)).registry.close();
    const content = await readFile(join(directory, 'registry.db'));
    expect(content.includes('"d":')).toBe(false);
    expect(content.includes('"crv"')).toBe(true);
  });

  test('put under another kid is refused', async () => {
    const directory = await temporaryDirectory();
    await (await open(directory)).registry.close();
    const database = new Sqlite(join(directory, 'registry.db'));
    database.exec("UPDATE signing_keys SET kid = 'another'");
    database.close();
    expect(await failure(open(directory))).toMatchObject({ code: 'key_file_invalid' });
  });

  test('changed by one bit is refused', async () => {
    const encryption = openKeyEncryption(join(await temporaryDirectory(), 'kek'), false);
    const ciphertext = Buffer.from(encryption.encrypt('secret', 'kid'));
    expect(encryption.decrypt(ciphertext, 'kid')).toBe('secret');
    for (const position of [0, 12, 28, ciphertext.length - 1]) {
      const changed = Buffer.from(ciphertext);
      changed[position] = (changed[position] as number) ^ 1;
      expect(() => encryption.decrypt(changed, 'kid')).toThrow(
        expect.objectContaining({ code: 'key_file_invalid' }),
      );
    }
  });
});
