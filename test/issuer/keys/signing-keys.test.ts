import { execFile } from 'node:child_process';
import { createPublicKey, randomBytes, verify } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isPostgresUrl, parsePostgresUrl, type RunningIssuer, startIssuer } from '@fleetgate/issuer';
import type { SigningAlgorithm } from '@fleetgate/shared';
import Sqlite from 'better-sqlite3';
import { calculateJwkThumbprint, createLocalJWKSet, type JWK, jwtVerify } from 'jose';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openKeyEncryption } from '../../../issuer/keys/key-encryption.ts';
import { reencryptSigningKeys } from '../../../issuer/keys/reencrypt.ts';
import { openSigningKeys, type SigningKeysOptions } from '../../../issuer/keys/signing-keys.ts';
import { openRegistry } from '../../../issuer/registry/open-registry.ts';
import type { StoredSigningKey } from '../../../issuer/registry/signing-key-registry.ts';
import { migrations } from '../../../issuer/registry/sqlite/migrations.ts';
import { openSqliteRegistry } from '../../../issuer/registry/sqlite/registry.ts';
import { otherConnection, rowsOf, storedBytes } from '../../support/database.ts';
import {
  databaseIn,
  hasApps,
  isInFile,
  issuerOptions,
  temporaryDirectory,
} from '../../support/issuer-fixture.ts';
import { changeKeys, putKeys, signingKey } from '../signing-key-contract.ts';

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

const DAY_MS = 86_400_000;
const AHEAD_MS = 900_000;

async function open(directory: string, options: Partial<SigningKeysOptions> = {}) {
  const registry = await openRegistry(databaseIn(directory));
  onTestFinished(() => registry.close());
  const file = join(directory, 'kek');
  const keys = await openSigningKeys({
    registry,
    openEncryption: (isNeeded) => openKeyEncryption({ file }, isNeeded),
    algorithm: 'ES256',
    policy: { rotationMs: 30 * DAY_MS, publishAheadMs: AHEAD_MS },
    now: Date.now,
    ...options,
  });
  const close = async () => {
    await keys.close();
    await registry.close();
  };
  onTestFinished(() => keys.close());
  const states = async () => (await registry.signingKeys()).keys.map(({ kid, state }) => [state, kid]);
  return { registry, keys, close, states };
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
  const { keys } = await open(await temporaryDirectory(), { algorithm });
  const [published] = keys.jwks().keys;
  expect(published).toMatchObject({ kty, alg: algorithm, use: 'sig' });
  expect(published?.kid).toBe(await calculateJwkThumbprint(published as JWK));
  expect(published).not.toHaveProperty('d');
  const { payload, protectedHeader } = await jwtVerify(
    (await keys.sign(claims)).token,
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
    const { token } = await keys.sign({ ...claims, jti: String(i) });
    const signature = Buffer.from(token.slice(token.lastIndexOf('.') + 1), 'base64url');
    const input = Buffer.from(token.slice(0, token.lastIndexOf('.')));
    expect(signature).toHaveLength(64);
    expect(verify('sha256', input, { key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
  }
});

test('a restart keeps the key', async () => {
  const directory = await temporaryDirectory();
  const first = await start(directory);
  const jwks = first.jwks();
  await first.close();
  expect((await start(directory)).jwks()).toEqual(jwks);
});

test('issuers that start at once on a fresh directory end with one active key, by which all sign', async () => {
  const directory = await temporaryDirectory();
  const issuers = await Promise.all(Array.from({ length: 4 }, () => start(directory)));
  const sets = issuers.map((issuer) => issuer.jwks());
  for (const set of sets) expect(set).toEqual(sets[0]);
  expect(sets[0]?.keys).toHaveLength(2);
});

test('so do processes of their own', async () => {
  const directory = await temporaryDirectory();
  const script = new URL('../../support/issuer-process.ts', import.meta.url).pathname;
  const outputs = await Promise.all(
    Array.from({ length: 3 }, () =>
      promisify(execFile)(process.execPath, [
        '--conditions=@fleetgate/source',
        ...[script, directory, databaseIn(directory)],
      ]),
    ),
  );
  const sets = outputs.map(({ stdout }) => JSON.parse(stdout) as unknown);
  expect(sets[0]).toMatchObject({ keys: [{ alg: 'ES256' }, { alg: 'ES256' }] });
  for (const set of sets) expect(set).toEqual(sets[0]);
});

test('the first start makes a key that signs, and publishes the next', async () => {
  const { keys, states } = await open(await temporaryDirectory());
  expect((await states()).map(([state]) => state)).toEqual(['active', 'next']);
  expect(keys.jwks().keys.map(({ kid }) => kid)).toEqual((await states()).map(([, kid]) => kid));
});

test('a key that is old enough is replaced by the next one, and leaves the set when its tokens have expired', async () => {
  let nowMs = 1_800_000_000_000;
  const directory = await temporaryDirectory();
  const { keys, states } = await open(directory, { now: () => nowMs });
  const [[, first], [, second]] = (await states()) as [string[], string[]];
  nowMs += 30 * DAY_MS - 1;
  await keys.maintain();
  expect((await keys.sign(claims)).keyId).toBe(first);
  nowMs += 1;
  await keys.maintain();
  expect((await keys.sign(claims)).keyId).toBe(second);
  const third = (await states())[1]?.[1];
  expect(await states()).toEqual([
    ['active', second],
    ['next', third],
    ['retired', first],
  ]);
  nowMs += (86_400 + 60 + 300) * 1000 - 1;
  await keys.maintain();
  expect(await states()).toHaveLength(3);
  nowMs += 1;
  await keys.maintain();
  expect((await states()).map(([, kid]) => kid)).toEqual([second, third]);
  expect(keys.jwks().keys.map(({ kid }) => kid)).toEqual([second, third]);
});

test('what happens by itself is in the audit trail, a row for each step', async () => {
  let nowMs = 1_800_000_000_000;
  const { registry, keys, states } = await open(await temporaryDirectory(), { now: () => nowMs });
  const [[, first], [, second]] = (await states()) as [string[], string[]];
  nowMs += 30 * DAY_MS;
  await keys.maintain();
  const third = (await states())[1]?.[1];
  nowMs += 2 * DAY_MS;
  await keys.maintain();
  const events = await registry.listEvents({ limit: 100 });
  expect(events.map(({ actor, action, target }) => [actor, action, target])).toEqual([
    ['issuer', 'key.activate', first],
    ['issuer', 'key.publish', second],
    ['issuer', 'key.activate', second],
    ['issuer', 'key.retire', first],
    ['issuer', 'key.publish', third],
    ['issuer', 'key.remove', first],
  ]);
});

test('a start with another algorithm publishes a key for it, which signs when verifiers have it', async () => {
  let nowMs = 1_800_000_000_000;
  const now = () => nowMs;
  const directory = await temporaryDirectory();
  const first = await open(directory, { now });
  const old = (await first.keys.sign(claims)).keyId;
  await first.close();
  const second = await open(directory, { now, algorithm: 'EdDSA' });
  expect(second.keys.jwks().keys.map(({ alg }) => alg)).toEqual(['ES256', 'EdDSA']);
  nowMs += AHEAD_MS - 1;
  await second.keys.maintain();
  expect((await second.keys.sign(claims)).keyId).toBe(old);
  nowMs += 1;
  await second.keys.maintain();
  expect(second.keys.jwks().keys.map(({ alg }) => alg)).toEqual(['EdDSA', 'EdDSA', 'ES256']);
  expect((await second.keys.sign(claims)).keyId).not.toBe(old);
});

test('processes with different algorithms do not fight: the one that started last decides', async () => {
  let nowMs = 1_800_000_000_000;
  const now = () => nowMs;
  const directory = await temporaryDirectory();
  const first = await open(directory, { now });
  const second = await open(directory, { now, algorithm: 'EdDSA' });
  const revision = await first.registry.signingKeyRevision();
  for (let i = 0; i < 3; i += 1) for (const { keys } of [first, second]) await keys.maintain();
  expect(await first.registry.signingKeyRevision()).toBe(revision);
  nowMs += AHEAD_MS;
  await first.keys.maintain();
  await second.keys.maintain();
  expect((await first.keys.sign(claims)).keyId).toBe((await second.keys.sign(claims)).keyId);
  expect(first.keys.jwks().keys.map(({ alg }) => alg)).toEqual(['EdDSA', 'EdDSA', 'ES256']);
});

test('a process signs with the key another has activated within a second, with nothing done to it', async () => {
  let nowMs = 1_800_000_000_000;
  const now = () => nowMs;
  const directory = await temporaryDirectory();
  const first = await open(directory, { now });
  const second = await open(directory, { now });
  // Those of the second process are not moved by the clock that both read: it only follows.
  await second.keys.change({ decide: () => [], by: { actor: 'issuer' } });
  nowMs += 30 * DAY_MS;
  await second.keys.maintain();
  const next = (await second.keys.sign(claims)).keyId;
  await expect
    .poll(async () => (await first.keys.sign(claims)).keyId, { timeout: 1000, interval: 20 })
    .toBe(next);
  expect(first.keys.jwks()).toEqual(second.keys.jwks());
});

test('of many that rotate at once one does, and all sign with its key', async () => {
  let nowMs = 1_800_000_000_000;
  const now = () => nowMs;
  const directory = await temporaryDirectory();
  const opened = [];
  for (let i = 0; i < 4; i += 1) opened.push(await open(directory, { now }));
  nowMs += 30 * DAY_MS;
  await Promise.all(opened.map(({ keys }) => keys.maintain()));
  for (const { keys } of opened) await keys.reload();
  const signed = await Promise.all(opened.map(({ keys }) => keys.sign(claims)));
  expect(new Set(signed.map(({ keyId }) => keyId)).size).toBe(1);
  expect((await opened[0]?.states())?.map(([state]) => state)).toEqual(['active', 'next', 'retired']);
});

// Of a file, since no schema of PostgreSQL is from before rotation.
test.runIf(isInFile)(
  'a database from before rotation keeps its active key, and a retired one without its private half',
  async () => {
    const directory = await temporaryDirectory();
    const database = new Sqlite(join(directory, 'registry.db'));
    const step = migrations.findIndex((step) => String(step).includes('published_keys'));
    for (const before of migrations.slice(0, step)) {
      if (typeof before === 'string') database.exec(before);
      else before(database);
    }
    database.exec(`
    PRAGMA user_version = ${step};
    PRAGMA application_id = ${0x464c5447};
    INSERT INTO signing_keys VALUES
      ('a', 'ES256', '{}', x'01', 'active', 5, NULL, NULL),
      ('r', 'ES256', '{}', x'02', 'retired', 1, 5, NULL),
      ('x', 'ES256', '{}', x'03', 'retired', 0, 1, 7);`);
    database.close();
    const registry = await openSqliteRegistry(join(directory, 'registry.db'));
    onTestFinished(() => registry.close());
    expect((await registry.signingKeys()).keys).toMatchObject([
      { kid: 'a', state: 'active', activatedAtMs: 5, encryptedPrivateJwk: Buffer.from([1]) },
      {
        kid: 'r',
        state: 'retired',
        retiredAtMs: 5,
        publishedUntilMs: 5 + 86_760_000,
        encryptedPrivateJwk: undefined,
      },
    ]);
  },
);

describe('the key file', () => {
  test('has 32 bytes and is for the owner only', async () => {
    const directory = await temporaryDirectory();
    await open(directory);
    const status = await stat(join(directory, 'kek'));
    expect([status.size, status.mode & 0o777]).toEqual([32, 0o600]);
  });

  test('missing while the database has keys is an error, and no new one is made', async () => {
    const directory = await temporaryDirectory();
    await (await open(directory)).close();
    await rm(join(directory, 'kek'));
    expect(await failure(open(directory))).toMatchObject({ code: 'key_file_invalid' });
    await expect(stat(join(directory, 'kek'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test.each([0o640, 0o604, 0o660, 0o644])('of mode %o is refused with the chmod to run', async (mode) => {
    const directory = await temporaryDirectory();
    await (await open(directory)).close();
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
    await (await open(directory)).close();
    await writeFile(join(directory, 'kek'), content());
    expect(await failure(open(directory))).toMatchObject({ code: 'key_file_invalid' });
  });
});

describe('the encryption key', () => {
  const bytes = randomBytes(32);

  test.each([
    ['base64', bytes.toString('base64')],
    ['base64 and a newline', `${bytes.toString('base64')}\n`],
    ['base64url', bytes.toString('base64url')],
  ])('may be given as %s, in a file or by itself', async (_name, text) => {
    const file = join(await temporaryDirectory(), 'kek');
    await writeFile(file, text, { mode: 0o600 });
    const ciphertext = openKeyEncryption({ file }, true).encrypt('secret', 'kid');
    expect(openKeyEncryption({ key: text }, true).decrypt(ciphertext, 'kid')).toBe('secret');
    await writeFile(file, bytes);
    expect(openKeyEncryption({ file }, true).decrypt(ciphertext, 'kid')).toBe('secret');
  });

  test.each([
    ['nothing', ''],
    ['a password', 'correct-horse-battery-staple'],
    ['hexadecimal', bytes.toString('hex')],
    ['a byte too few', randomBytes(31).toString('base64')],
    ['a byte too many', randomBytes(33).toString('base64')],
  ])('is not %s, and no message holds it', (_name, key) => {
    const message = thrownBy(() => openKeyEncryption({ key }, false));
    expect(message).toMatchObject({ code: 'key_file_invalid' });
    if (key !== '') expect(String(message)).not.toContain(key);
  });
});

const thrownBy = (act: () => unknown): unknown => {
  try {
    return act();
  } catch (error) {
    return error;
  }
};

describe('a private key in the database', () => {
  // PostgreSQL keeps the old row until it is vacuumed: of a file alone it can be promised.
  test.runIf(isInFile).each([
    ['retired', { put: [signingKey('k1', 'retired')] }],
    ['gone', { removed: ['k1'] }],
  ])('is overwritten in the file when the key is %s', async (_name, change) => {
    const file = join(await temporaryDirectory(), 'registry.db');
    const registry = await openSqliteRegistry(file);
    const secret = randomBytes(1800);
    await putKeys(registry, [{ ...signingKey('k1'), encryptedPrivateJwk: secret }]);
    await registry.close();
    const isThere = async () => (await readFile(file)).includes(secret.subarray(-900, -800));
    expect(await isThere()).toBe(true);
    const again = await openSqliteRegistry(file);
    await changeKeys(again, change);
    await again.close();
    expect(await isThere()).toBe(false);
  });

  test('is not readable there', async () => {
    const directory = await temporaryDirectory();
    await (await open(directory)).close();
    const stored = await storedBytes(databaseIn(directory));
    const content = Buffer.concat(stored.map(([, bytes]) => bytes));
    expect(content.includes('"d":')).toBe(false);
    expect(content.includes('"crv"')).toBe(true);
  });

  test('put under another kid is refused', async () => {
    const directory = await temporaryDirectory();
    await (await open(directory)).close();
    const other = await otherConnection(databaseIn(directory));
    await other.execute("UPDATE signing_keys SET kid = 'another' WHERE state = 'active'");
    expect(await failure(open(directory))).toMatchObject({ code: 'key_file_invalid' });
  });

  test('changed by one bit is refused', async () => {
    const encryption = openKeyEncryption({ file: join(await temporaryDirectory(), 'kek') }, false);
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

describe('reencrypted', () => {
  const isThere = async (database: string) => {
    if (!isPostgresUrl(database)) return existsSync(database);
    const { schema } = parsePostgresUrl(database);
    const found = await rowsOf(database, `SELECT 1 FROM pg_namespace WHERE nspname = '${schema}'`);
    return found.length > 0;
  };
  const prepared = async () => {
    const directory = await temporaryDirectory();
    const { keys, close } = await open(directory);
    const set = keys.jwks();
    await close();
    const database = databaseIn(directory);
    const files = { from: { file: join(directory, 'kek') }, to: { file: join(directory, 'new') } };
    return { directory, database, set, files };
  };

  test('keys sign under the new encryption key, each with its row in the audit trail', async () => {
    const { directory, database, set, files } = await prepared();
    expect(await reencryptSigningKeys({ database, ...files })).toBe(2);
    await rename(join(directory, 'new'), join(directory, 'kek'));
    const { registry, keys } = await open(directory);
    expect(keys.jwks()).toEqual(set);
    await jwtVerify((await keys.sign(claims)).token, createLocalJWKSet(set as { keys: JWK[] }));
    const events = await registry.listEvents({ limit: 10 });
    expect(events.slice(2).map(({ action, target }) => [action, target])).toEqual(
      set.keys.map(({ kid }) => ['key.reencrypt', kid]),
    );
  });

  test.runIf(hasApps)('are the keys of the apps, too', async () => {
    const { directory, database, files } = await prepared();
    const appsDirectory = join(directory, 'apps');
    await mkdir(join(appsDirectory, 'plant'), { recursive: true });
    await copyFile(database, join(appsDirectory, 'plant', 'fleetgate.db'));
    expect(await reencryptSigningKeys({ database, appsDirectory, ...files })).toBe(4);
    expect(await reencryptSigningKeys({ database, appsDirectory, ...files })).toBe(0);
  });

  test('keys of which some were are finished by another run', async () => {
    const { database, files } = await prepared();
    const registry = await openRegistry(database);
    const [active] = (await registry.signingKeys()).keys as [StoredSigningKey];
    const [from, to] = [openKeyEncryption(files.from, true), openKeyEncryption(files.to, false)];
    const plain = from.decrypt(active.encryptedPrivateJwk ?? new Uint8Array(), active.kid);
    await putKeys(registry, [{ ...active, encryptedPrivateJwk: to.encrypt(plain, active.kid) }]);
    await registry.close();
    expect(await reencryptSigningKeys({ database, ...files })).toBe(1);
    expect(await reencryptSigningKeys({ database, ...files })).toBe(0);
  });

  test('is nothing where a key is under neither, and nothing is made where no database is', async () => {
    const { directory, database, files } = await prepared();
    const other = { ...files, from: { key: randomBytes(32).toString('base64') } };
    expect(await failure(reencryptSigningKeys({ database, ...other }))).toMatchObject({
      code: 'key_file_invalid',
    });
    const misspelled = isInFile ? join(directory, 'registri.db') : `${database}x`;
    expect(await failure(reencryptSigningKeys({ database: misspelled, ...files }))).toMatchObject({
      code: 'registry_unavailable',
    });
    expect(await isThere(misspelled)).toBe(false);
    expect((await (await open(directory)).keys.sign(claims)).keyId).toBeDefined();
  });
});
