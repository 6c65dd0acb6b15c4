import { copyFile, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { auditEvent } from '../../issuer/audit.ts';
import { openSqliteRegistry } from '../../issuer/registry/sqlite/registry.ts';
import { temporaryDirectory } from '../support/issuer-fixture.ts';
import { fleetContract } from './fleet-registry-contract.ts';
import { apiKeysContract } from './registry-api-keys.ts';
import { clientChangesContract } from './registry-client-changes.ts';
import { registryContract } from './registry-contract.ts';
import { signingKeyContract } from './signing-key-contract.ts';

for (const contract of [
  registryContract,
  clientChangesContract,
  apiKeysContract,
  signingKeyContract,
  fleetContract,
]) {
  contract('SQLite', async () => {
    const file = join(await temporaryDirectory(), 'registry.db');
    const registry = await openSqliteRegistry(file);
    return { registry, openAnother: () => openSqliteRegistry(file), dispose: () => registry.close() };
  });
}

async function closedDatabase(): Promise<string> {
  const file = join(await temporaryDirectory(), 'registry.db');
  await (await openSqliteRegistry(file)).close();
  return file;
}

const refusal = (file: string) =>
  openSqliteRegistry(file).then(
    () => 'opened',
    (error: { code: string; message: string }) => error,
  );

test('the database, -wal and -shm are for the owner only, also when they were not before', async () => {
  const file = join(await temporaryDirectory(), 'registry.db');
  await writeFile(file, '', { mode: 0o644 });
  const registry = await openSqliteRegistry(file);
  await registry.recordEvent(auditEvent({ atMs: 1, actor: 'issuer', action: 'key.activate' }));
  for (const each of [file, `${file}-wal`, `${file}-shm`]) {
    expect([each, (await stat(each)).mode & 0o777]).toEqual([each, 0o600]);
  }
  await registry.close();
});

test('commits are durable: write-ahead log with synchronous FULL', async () => {
  // A pragma of the connection, so it is read in the module's own way of opening.
  const { openDatabase } = await import('../../issuer/registry/sqlite/database.ts');
  const database = await openDatabase(join(await temporaryDirectory(), 'registry.db'));
  expect(database.pragma('journal_mode', { simple: true })).toBe('wal');
  expect(database.pragma('synchronous', { simple: true })).toBe(2);
  expect(database.pragma('foreign_keys', { simple: true })).toBe(1);
  database.close();
});

test('a database of the first schema is brought to the newest with what is in it', async () => {
  const file = join(await temporaryDirectory(), 'registry.db');
  const { migrations } = await import('../../issuer/registry/sqlite/migrations.ts');
  const old = new Sqlite(file);
  old.exec(`${migrations[0]};
    PRAGMA user_version = 1;
    PRAGMA application_id = ${0x464c5447};
    INSERT INTO clients VALUES (7, 'a', NULL, 'x', '[]', 'client_secret_basic', '["client_credentials"]', NULL, '{"hw":"rev-a"}',
      '{}', NULL, '{}', 1, 1);
    INSERT INTO signing_keys VALUES ('k1', 'ES256', '{}', x'00', 'active', 1, NULL);`);
  old.close();
  const registry = await openSqliteRegistry(file);
  onTestFinished(() => registry.close());
  expect(await registry.findClient('a')).toMatchObject({ registration: 7, scope: 'x' });
  expect(
    await registry.listClients({ limit: 1, filter: { label: { name: 'hw', value: 'rev-a' } } }),
  ).toHaveLength(1);
  expect((await registry.signingKeys()).keys.map(({ kid }) => kid)).toEqual(['k1']);
  const now = { nowSeconds: 0, limit: 1 };
  const revocation = { kind: 'client', clientId: 'a', atSeconds: 5, expiresAtSeconds: 9 } as const;
  await registry.revoke(revocation, auditEvent({ atMs: 5000, actor: 'issuer', action: 'client.revoke' }));
  expect(await registry.listRevocations(now)).toMatchObject([revocation]);
});

test('the revocation of a quarantine from before it was marked is marked, and no other', async () => {
  const file = join(await temporaryDirectory(), 'registry.db');
  const { migrations } = await import('../../issuer/registry/sqlite/migrations.ts');
  const old = new Sqlite(file);
  const version = migrations.findIndex((step) => `${step}`.includes('COLUMN quarantined INTEGER'));
  for (const step of migrations.slice(0, version)) {
    if (typeof step === 'string') old.exec(step);
    else step(old);
  }
  old.exec(`
    INSERT INTO clients (client_id, scope, audience, auth_method, grant_types, labels, metadata, supertokens, created_at_ms,
      updated_at_ms, quarantined_at_ms, quarantine_reason)
      VALUES ('a', '', '[]', 'client_secret_basic', '[]', '{}', '{}', '{}', 1, 5000, 5000, 'lost');
    INSERT INTO revocations (kind, client_id, at, created_at_ms, expires_at)
      VALUES ('client', 'a', 4, 4000, 9), ('client', 'a', 5, 5000, 9), ('client', 'b', 5, 5000, 9);
    PRAGMA user_version = ${version};
    PRAGMA application_id = ${0x464c5447};`);
  old.close();
  const registry = await openSqliteRegistry(file);
  onTestFinished(() => registry.close());
  const listed = await registry.listRevocations({ nowSeconds: 0, limit: 9 });
  expect(listed.map((one) => one.kind === 'client' && one.isQuarantined === true)).toEqual([
    false,
    true,
    false,
  ]);
});

test('a database of a newer schema is refused naming both versions, and is not touched', async () => {
  const file = await closedDatabase();
  const database = new Sqlite(file);
  const version = database.pragma('user_version', { simple: true }) as number;
  database.pragma('user_version = 99');
  database.close();
  const error = await refusal(file);
  expect(error).toMatchObject({ code: 'registry_schema_newer' });
  expect(error).toMatchObject({ message: expect.stringMatching(new RegExp(`\\b99\\b.*\\b${version}\\b`)) });
  const after = new Sqlite(file);
  expect(after.pragma('user_version', { simple: true })).toBe(99);
  after.close();
});

test('the database of another program is refused and left as it is', async () => {
  const file = join(await temporaryDirectory(), 'other.db');
  const other = new Sqlite(file);
  other.exec('CREATE TABLE theirs (x)');
  other.close();
  expect(await refusal(file)).toMatchObject({ code: 'registry_unavailable' });
  const after = new Sqlite(file);
  expect(after.prepare('SELECT name FROM sqlite_schema').pluck().all()).toEqual(['theirs']);
  after.close();
});

test.each([
  [
    'a text file',
    (file: string) => writeFile(file, 'not a database, but long enough to have a header '.repeat(9)),
  ],
  [
    'a directory',
    (file: string) => rm(file).then(() => import('node:fs/promises').then((fs) => fs.mkdir(file))),
  ],
  ['a zeroed page', (file: string) => overwrite(file, 4096, Buffer.alloc(4096))],
  ['a truncated file', async (file: string) => (await open(file, 'r+')).truncate(5000)],
])('%s in its place is refused with one line that names the file', async (_name, damage) => {
  const file = await closedDatabase();
  await damage(file);
  const error = (await refusal(file)) as { code: string; message: string };
  expect(error).toMatchObject({ code: 'registry_unavailable' });
  expect(error.message).toContain(file);
  expect(error.message).not.toContain('\n');
});

test('a missing directory is refused with one line that names the file', async () => {
  const file = join(await temporaryDirectory(), 'missing', 'registry.db');
  expect(await refusal(file)).toMatchObject({
    code: 'registry_unavailable',
    message: expect.stringContaining(file),
  });
});

test('a new database opened by many at once is made once, and all can use it', async () => {
  const file = join(await temporaryDirectory(), 'registry.db');
  const registries = await Promise.all(Array.from({ length: 8 }, () => openSqliteRegistry(file)));
  for (const registry of registries) {
    await registry.recordEvent(auditEvent({ atMs: 1, actor: 'issuer', action: 'key.activate' }));
  }
  expect(await registries[0]?.listEvents({ limit: 100 })).toHaveLength(8);
  await Promise.all(registries.map((registry) => registry.close()));
});

test('opening waits while another process makes the same database', async () => {
  const file = join(await temporaryDirectory(), 'registry.db');
  const other = new Sqlite(file);
  other.exec('BEGIN EXCLUSIVE');
  // The first try is over when this returns: the lock was held all the time.
  const opening = openSqliteRegistry(file);
  other.exec('ROLLBACK');
  other.close();
  await (await opening).close();
});

test('an audit row cannot be changed', async () => {
  const file = join(await temporaryDirectory(), 'registry.db');
  const registry = await openSqliteRegistry(file);
  await registry.recordEvent(auditEvent({ atMs: 1, actor: 'issuer', action: 'key.activate' }));
  await registry.close();
  const database = new Sqlite(file);
  expect(() => database.exec("UPDATE audit SET actor = 'somebody else'")).toThrow(/never changed/);
  database.close();
});

test('a registry whose file was deleted or replaced is not readable', async () => {
  const file = join(await temporaryDirectory(), 'registry.db');
  const registry = await openSqliteRegistry(file);
  onTestFinished(() => registry.close());
  expect(await registry.isAvailable()).toBe(true);
  await copyFile(file, `${file}.copy`);
  await rm(file);
  expect(await registry.isAvailable()).toBe(false);
  await copyFile(`${file}.copy`, file);
  expect(await registry.isAvailable()).toBe(false);
});

test('writes wait for another process that holds the lock, and are refused as unavailable when it keeps it', async () => {
  const file = join(await temporaryDirectory(), 'registry.db');
  const registry = await openSqliteRegistry(file);
  const other = new Sqlite(file);
  onTestFinished(async () => {
    other.close();
    await registry.close();
  });
  other.exec('BEGIN IMMEDIATE');
  const event = auditEvent({ atMs: 1, actor: 'issuer', action: 'key.activate' });
  await expect(registry.recordEvent(event)).rejects.toMatchObject({ code: 'registry_unavailable' });
  other.exec('ROLLBACK');
  await registry.recordEvent(event);
  expect(await registry.listEvents({ limit: 10 })).toHaveLength(1);
});

async function overwrite(file: string, position: number, bytes: Buffer): Promise<void> {
  const content = await readFile(file);
  bytes.copy(content, position);
  await writeFile(file, content);
}
