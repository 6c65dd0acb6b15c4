import type { CreationKey } from '../client-changes.ts';
import { type Act, sql } from './statement.ts';

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

const find = sql<[owner: string, keyHash: Uint8Array, notBeforeMs: number], CreationKeyRow>(`
  SELECT request_hash, registration, client_id FROM creation_keys
  WHERE owner = ? AND key_hash = ? AND created_at_ms >= ?`);
const insert = sql<[string, Uint8Array, Uint8Array, number, string, number]>(`
  INSERT INTO creation_keys (owner, key_hash, request_hash, registration, client_id, created_at_ms)
  VALUES (?, ?, ?, ?, ?, ?)`);
const removeOld = sql<[notBeforeMs: number, limit: number]>(`
  DELETE FROM creation_keys WHERE (owner, key_hash) IN (
    SELECT owner, key_hash FROM creation_keys WHERE created_at_ms < ? ORDER BY created_at_ms LIMIT ?)`);
const remove = sql<[owner: string, keyHash: Uint8Array]>(
  'DELETE FROM creation_keys WHERE owner = ? AND key_hash = ?',
);

/** The keys under which clients were created. */
export const creationKeys = {
  *find({
    owner,
    keyHash,
    notBeforeMs,
  }: CreationKey): Act<(Creation & { readonly requestHash: Uint8Array }) | undefined> {
    const row = yield* find.get(owner, keyHash, notBeforeMs);
    if (row === undefined) return undefined;
    return { requestHash: row.request_hash, registration: row.registration, clientId: row.client_id };
  },
  *insert(
    { owner, keyHash, requestHash, notBeforeMs }: CreationKey,
    made: Creation,
    atMs: number,
  ): Act<void> {
    yield* removeOld.run(notBeforeMs, PRUNED_KEYS);
    // One that is too old, and not forgotten yet.
    yield* remove.run(owner, keyHash);
    yield* insert.run(owner, keyHash, requestHash, made.registration, made.clientId, atMs);
  },
};
