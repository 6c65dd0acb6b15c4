import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { expiring, neverUsed } from '../../issuer/registry/acts/client-secrets.ts';
import { migrations } from '../../issuer/registry/sqlite/migrations.ts';
import { openSqliteRegistry } from '../../issuer/registry/sqlite/registry.ts';
import { findSecret, hashSecret } from '../../issuer/secrets.ts';
import { temporaryDirectory } from '../support/issuer-fixture.ts';
import { secretRegistryContract } from './secret-registry-contract.ts';

secretRegistryContract('SQLite', async () => {
  const file = join(await temporaryDirectory(), 'registry.db');
  const registry = await openSqliteRegistry(file);
  return { registry, openAnother: () => openSqliteRegistry(file), dispose: () => registry.close() };
});

test('secrets of a database from before rotation stay, without an end, and each gets an id', async () => {
  const file = join(await temporaryDirectory(), 'registry.db');
  const old = new Sqlite(file);
  old.exec(`${migrations[0]};
    PRAGMA user_version = 1;
    PRAGMA application_id = ${0x464c5447};
    INSERT INTO clients VALUES (7, 'a', NULL, 'x', '[]', 'client_secret_basic', '["client_credentials"]', NULL, '{}', '{}',
      NULL, '{}', 1, 1);`);
  const insert = old.prepare('INSERT INTO client_secrets VALUES (7, ?, ?, 5)');
  insert.run(0, hashSecret('one'));
  insert.run(1, hashSecret('two'));
  old.close();
  const registry = await openSqliteRegistry(file);
  onTestFinished(() => registry.close());
  const { secrets = [] } = (await registry.findClient('a')) ?? {};
  expect(secrets).toMatchObject([
    { createdAtMs: 5, expiresAtMs: undefined, firstUsedAtMs: undefined },
    { createdAtMs: 5, expiresAtMs: undefined, firstUsedAtMs: undefined },
  ]);
  expect(['one', 'two'].map((secret) => findSecret(secret, secrets))).toEqual(secrets);
  expect(new Set(secrets.map(({ secretId }) => secretId)).size).toBe(2);
});

test.each([
  ['never used', neverUsed.text, 'secrets_never_used'],
  ['expiring', expiring.text, 'secrets_by_end'],
])('the list of those %s is read from an index, as far as it goes', async (_name, query, index) => {
  const file = join(await temporaryDirectory(), 'registry.db');
  await (await openSqliteRegistry(file)).close();
  const database = new Sqlite(file, { readonly: true });
  onTestFinished(() => {
    database.close();
  });
  const parameters = { atMs: 1, registration: 2, slot: 0, nowMs: 1, untilMs: 5, limit: 9 };
  const plan = database
    .prepare<object, { detail: string }>(`EXPLAIN QUERY PLAN ${query}`)
    .all(parameters)
    .map(({ detail }) => detail);
  expect(plan[0]).toMatch(`SEARCH client_secrets USING INDEX ${index} `);
  expect(plan.join()).not.toMatch(/SCAN|B-TREE/);
});
