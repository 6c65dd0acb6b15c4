import type { CreationKey } from '../client-changes.ts';
import type { Database } from './database.ts';

interface CreationKeyRow {
  request_hash: Buffer;
  registration: number;
  client_id: string;
}

/** What a key made. */
export interface Creation {
  readonly registration: number;
  readonly clientId: string;
}

/** Keys forgotten with each that is added: more than one, so that they are gone some time. */
const PRUNED_KEYS = 10;

/** The statements on the keys under which clients were created. */
export function creationKeys(database: Database) {
  const find = database.prepare<[string, Uint8Array, number], CreationKeyRow>(`
    SELECT request_hash, registration, client_id FROM creation_keys
    WHERE owner = ? AND key_hash = ? AND created_at_ms >= ?`);
  const insert = database.prepare<unknown[]>(`
    INSERT INTO creation_keys (owner, key_hash, request_hash, registration, client_id, created_at_ms)
    VALUES (?, ?, ?, ?, ?, ?)`);
  const removeOld = database.prepare<[number, number]>(`
    DELETE FROM creation_keys WHERE rowid IN (
      SELECT rowid FROM creation_keys WHERE created_at_ms < ? ORDER BY created_at_ms LIMIT ?)`);
  const remove = database.prepare<[string, Uint8Array]>(
    'DELETE FROM creation_keys WHERE owner = ? AND key_hash = ?',
  );

  return {
    find({
      owner,
      keyHash,
      notBeforeMs,
    }: CreationKey): (Creation & { readonly requestHash: Uint8Array }) | undefined {
      const row = find.get(owner, keyHash, notBeforeMs);
      if (row === undefined) return undefined;
      return { requestHash: row.request_hash, registration: row.registration, clientId: row.client_id };
    },
    insert({ owner, keyHash, requestHash, notBeforeMs }: CreationKey, made: Creation, atMs: number): void {
      removeOld.run(notBeforeMs, PRUNED_KEYS);
      // One that is too old, and not forgotten yet.
      remove.run(owner, keyHash);
      insert.run(owner, keyHash, requestHash, made.registration, made.clientId, atMs);
    },
  };
}
