import type { Role } from '../../roles.ts';
import type { ApiKeyRecord, ApiKeyRegistry } from '../api-keys.ts';
import { sql, type Value } from './statement.ts';
import type { Store } from './store.ts';

interface ApiKeyRow {
  name: string;
  role: Role;
  hash: Buffer;
  previous_hash: Buffer | null;
  previous_until_ms: number | null;
  created_at_ms: number;
  rotated_at_ms: number;
  expires_at_ms: number | null;
  last_used_at_ms: number | null;
}

const insert = sql<Value[]>(`
  INSERT INTO api_keys (name, role, hash, previous_hash, previous_until_ms, created_at_ms, rotated_at_ms, expires_at_ms)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING`);
const replace = sql<Value[]>(`
  UPDATE api_keys SET hash = ?, previous_hash = ?, previous_until_ms = ?, rotated_at_ms = ?, expires_at_ms = ?
  WHERE name = ?`);
const remove = sql<[name: string]>('DELETE FROM api_keys WHERE name = ?');
const byHash = sql<[Uint8Array, Uint8Array], ApiKeyRow>(
  'SELECT * FROM api_keys WHERE hash = ? OR previous_hash = ?',
);
const byName = sql<[name: string], ApiKeyRow>('SELECT * FROM api_keys WHERE name = ?');
const list = sql<[], ApiKeyRow>('SELECT * FROM api_keys ORDER BY name');
const count = sql<[], { keys: number }>('SELECT count(*) AS keys FROM api_keys');
const touch = sql<[atMs: number, name: string]>('UPDATE api_keys SET last_used_at_ms = ? WHERE name = ?');

/** The acts on API keys. */
export function apiKeyActs({ read, write, record }: Store): ApiKeyRegistry {
  return {
    createApiKey: (key, maxKeys, event) =>
      write(function* () {
        if ((yield* byName.get(key.name)) !== undefined) return 'taken';
        if (((yield* count.get())?.keys ?? 0) >= maxKeys) return 'full';
        const { name, role, hash, previous, createdAtMs, rotatedAtMs, expiresAtMs } = key;
        yield* insert.run(
          name,
          role,
          hash,
          previous?.hash ?? null,
          previous?.untilMs ?? null,
          createdAtMs,
          rotatedAtMs,
          expiresAtMs ?? null,
        );
        yield* record(event);
        return 'created';
      }),
    replaceApiKey: ({ name, hash, previous, rotatedAtMs, expiresAtMs }, event) =>
      write(function* () {
        const changes = yield* replace.run(
          hash,
          previous?.hash ?? null,
          previous?.untilMs ?? null,
          rotatedAtMs,
          expiresAtMs ?? null,
          name,
        );
        if (changes === 0) return false;
        yield* record(event);
        return true;
      }),
    deleteApiKey: (name, event) =>
      write(function* () {
        if ((yield* remove.run(name)) === 0) return false;
        yield* record(event);
        return true;
      }),
    findApiKeyByHash: (hash) =>
      read(function* () {
        return toKey(yield* byHash.get(hash, hash));
      }),
    findApiKey: (name) =>
      read(function* () {
        return toKey(yield* byName.get(name));
      }),
    listApiKeys: () =>
      read(function* () {
        return (yield* list.all()).map((row) => toKey(row) as ApiKeyRecord);
      }),
    touchApiKey: (name, atMs) =>
      write(function* () {
        yield* touch.run(atMs, name);
      }),
  };
}

function toKey(row: ApiKeyRow | undefined): ApiKeyRecord | undefined {
  if (row === undefined) return undefined;
  const { previous_hash: previousHash, previous_until_ms: untilMs } = row;
  return {
    name: row.name,
    role: row.role,
    hash: row.hash,
    previous: previousHash === null || untilMs === null ? undefined : { hash: previousHash, untilMs },
    createdAtMs: row.created_at_ms,
    rotatedAtMs: row.rotated_at_ms,
    expiresAtMs: row.expires_at_ms ?? undefined,
    lastUsedAtMs: row.last_used_at_ms ?? undefined,
  };
}
