import type { SigningAlgorithm } from '@fleetgate/shared';
import type { SigningKeySet, SigningKeyState, StoredSigningKey } from '../signing-key-registry.ts';
import type { Database } from './database.ts';

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

export type SigningKeyStatements = ReturnType<typeof signingKeyStatements>;

/** The statements on signing keys; each runs at once, in whatever transaction is open. */
export function signingKeyStatements(database: Database) {
  const list = database.prepare<[], KeyRow>(`
    SELECT * FROM signing_keys
    ORDER BY CASE state WHEN 'active' THEN 0 WHEN 'next' THEN 1 ELSE 2 END, created_at_ms DESC, kid`);
  const revision = database.prepare<[], number>('SELECT revision FROM signing_key_revision').pluck();
  const nextRevision = database.prepare('UPDATE signing_key_revision SET revision = revision + 1');
  const isActive = database
    .prepare<[string], number>("SELECT 1 FROM signing_keys WHERE kid = ? AND state = 'active'")
    .pluck();
  const exists = database.prepare<[string], number>('SELECT 1 FROM signing_keys WHERE kid = ?').pluck();
  const remove = database.prepare<[string]>('DELETE FROM signing_keys WHERE kid = ?');
  const put = database.prepare<unknown[]>(`
    INSERT INTO signing_keys (kid, algorithm, public_jwk, encrypted_private_jwk, state, created_at_ms,
      published_at_ms, is_wanted, activated_at_ms, retired_at_ms, published_until_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);

  function putKey(key: StoredSigningKey): void {
    // Not INSERT OR REPLACE, which would delete another key that is active.
    remove.run(key.kid);
    put.run(
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

  return {
    set: (): SigningKeySet => ({ revision: revision.get() as number, keys: list.all().map(toKey) }),
    revision: (): number => revision.get() as number,
    exists: (kid: string): boolean => exists.get(kid) === 1,
    isActive: (kid: string): boolean => isActive.get(kid) === 1,
    change(puts: readonly StoredSigningKey[], removed: readonly string[]): void {
      // What is deleted is overwritten, so that no private half, encrypted as it is, stays in free space of the file.
      database.pragma('secure_delete = ON');
      try {
        for (const kid of removed) remove.run(kid);
        // The one that is active no longer goes first: of two active keys the second is refused.
        for (const key of puts.toSorted((a, b) => rank(a) - rank(b))) putKey(key);
        nextRevision.run();
      } finally {
        database.pragma('secure_delete = OFF');
      }
    },
  };
}

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
