import type { SigningAlgorithm } from '@fleetgate/shared';
import type { SigningKeySet, SigningKeyState, StoredSigningKey } from '../signing-key-registry.ts';
import { type Act, sql, type Value } from './statement.ts';

interface KeyRow {
  kid: string;
  algorithm: SigningAlgorithm;
  public_jwk: string;
  encrypted_private_jwk: Buffer | null;
  state: SigningKeyState;
  created_at_ms: number;
  published_at_ms: number;
  is_wanted: 0 | 1;
  activated_at_ms: number | null;
  retired_at_ms: number | null;
  published_until_ms: number | null;
}

const list = sql<[], KeyRow>(`
  SELECT * FROM signing_keys
  ORDER BY CASE state WHEN 'active' THEN 0 WHEN 'next' THEN 1 ELSE 2 END, created_at_ms DESC, kid`);
const revision = sql<[], { revision: number }>('SELECT revision FROM signing_key_revision');
const nextRevision = sql('UPDATE signing_key_revision SET revision = revision + 1');
const state = sql<[kid: string], { state: SigningKeyState }>('SELECT state FROM signing_keys WHERE kid = ?');
const remove = sql<[kid: string]>('DELETE FROM signing_keys WHERE kid = ?');
const put = sql<Value[]>(`
  INSERT INTO signing_keys (kid, algorithm, public_jwk, encrypted_private_jwk, state, created_at_ms,
    published_at_ms, is_wanted, activated_at_ms, retired_at_ms, published_until_ms)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);

function* putKey(key: StoredSigningKey): Act<void> {
  // Not INSERT OR REPLACE, which would delete another key that is active.
  yield* remove.run(key.kid);
  yield* put.run(
    key.kid,
    key.algorithm,
    JSON.stringify(key.publicJwk),
    key.encryptedPrivateJwk ?? null,
    key.state,
    key.createdAtMs,
    key.publishedAtMs,
    key.isWanted ? 1 : 0,
    key.activatedAtMs ?? null,
    key.retiredAtMs ?? null,
    key.publishedUntilMs ?? null,
  );
}

/** Signing keys, within an act. */
export const signingKeys = {
  *set(): Act<SigningKeySet> {
    // The revision first: keys that are newer than it are read again, keys that are older never would be.
    const number = yield* signingKeys.revision();
    return { revision: number, keys: (yield* list.all()).map(toKey) };
  },
  *revision(): Act<number> {
    return (yield* revision.get())?.revision as number;
  },
  *exists(kid: string): Act<boolean> {
    return (yield* state.get(kid)) !== undefined;
  },
  *isActive(kid: string): Act<boolean> {
    return (yield* state.get(kid))?.state === 'active';
  },
  *change(puts: readonly StoredSigningKey[], removed: readonly string[]): Act<void> {
    for (const kid of removed) yield* remove.run(kid);
    // The one that is active no longer goes first: of two active keys the second is refused.
    for (const key of puts.toSorted((a, b) => rank(a) - rank(b))) yield* putKey(key);
    yield* nextRevision.run();
  },
};

const rank = ({ state }: StoredSigningKey) => ['retired', 'active', 'next'].indexOf(state);

function toKey(row: KeyRow): StoredSigningKey {
  return {
    kid: row.kid,
    algorithm: row.algorithm,
    publicJwk: JSON.parse(row.public_jwk) as Record<string, unknown>,
    encryptedPrivateJwk: row.encrypted_private_jwk ?? undefined,
    state: row.state,
    createdAtMs: row.created_at_ms,
    publishedAtMs: row.published_at_ms,
    isWanted: row.is_wanted === 1,
    activatedAtMs: row.activated_at_ms ?? undefined,
    retiredAtMs: row.retired_at_ms ?? undefined,
    publishedUntilMs: row.published_until_ms ?? undefined,
  };
}
