import type { Role } from '../../roles.ts';
import type { ApiKeyRecord, ApiKeyRegistry } from '../api-keys.ts';
import type { Acts } from './acts.ts';
import type { Database } from './database.ts';

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

/** The acts on API keys. */
export function apiKeyActs(database: Database, { read, write, record }: Acts): ApiKeyRegistry {
  const insert = database.prepare<unknown[]>(`
    INSERT INTO api_keys (name, role, hash, previous_hash, previous_until_ms, created_at_ms, rotated_at_ms, expires_at_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING`);
  const replace = database.prepare<unknown[]>(`
    UPDATE api_keys SET hash = ?, previous_hash = ?, previous_until_ms = ?, rotated_at_ms = ?, expires_at_ms = ?
    WHERE name = ?`);
  const remove = database.prepare<[string]>('DELETE FROM api_keys WHERE name = ?');
  const byHash = database.prepare<[Uint8Array, Uint8Array], ApiKeyRow>(
    'SELECT * FROM api_keys WHERE hash = ? OR previous_hash = ?',
  );
  const byName = database.prepare<[string], ApiKeyRow>('SELECT * FROM api_keys WHERE name = ?');
  const list = database.prepare<[], ApiKeyRow>('SELECT * FROM api_keys ORDER BY name');
  const count = database.prepare<[], number>('SELECT count(*) FROM api_keys').pluck();
  const touch = database.prepare<[number, string]>('UPDATE api_keys SET last_used_at_ms = ? WHERE name = ?');

  return {
    createApiKey: (key, maxKeys, event) =>
      write(() => {
        if (byName.get(key.name) !== undefined) return 'taken';
        if ((count.get() as number) >= maxKeys) return 'full';
        const { name, role, hash, previous, createdAtMs, rotatedAtMs, expiresAtMs } = key;
        insert.run(
          name,
          role,
          hash,
          previous?.hash ?? null,
          previous?.untilMs ?? null,
          createdAtMs,
          rotatedAtMs,
          expiresAtMs ?? null,
        );
        record(event);
        return 'created';
      }),
    replaceApiKey: ({ name, hash, previous, rotatedAtMs, expiresAtMs }, event) =>
      write(() => {
        const { changes } = replace.run(
          hash,
          previous?.hash ?? null,
          previous?.untilMs ?? null,
          rotatedAtMs,
          expiresAtMs ?? null,
          name,
        );
        if (changes === 0) return false;
        record(event);
        return true;
      }),
    deleteApiKey: (name, event) =>
      write(() => {
        if (remove.run(name).changes === 0) return false;
        record(event);
        return true;
      }),
    findApiKeyByHash: (hash) => read(() => toKey(byHash.get(hash, hash))),
    findApiKey: (name) => read(() => toKey(byName.get(name))),
    listApiKeys: () => read(() => list.all().map((row) => toKey(row) as ApiKeyRecord)),
    touchApiKey: (name, atMs) =>
      write(() => {
        touch.run(atMs, name);
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
