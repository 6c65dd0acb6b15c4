import type { SigningAlgorithm } from '@fleetgate/shared';
import type { StoredSigningKey } from '../registry.ts';
import type { Database } from './database.ts';

interface KeyRow {
  kid: string;
  algorithm: SigningAlgorithm;
  public_jwk: string;
  encrypted_private_jwk: Buffer;
  state: 'active' | 'retired';
  created_at_ms: number;
}

export type SigningKeyStatements = ReturnType<typeof signingKeyStatements>;

/** The statements on signing keys; each runs at once, in whatever transaction is open. */
export function signingKeyStatements(database: Database) {
  const list = database.prepare<[], KeyRow>(
    "SELECT * FROM signing_keys WHERE revoked_at_ms IS NULL ORDER BY state = 'active' DESC, created_at_ms DESC, kid",
  );
  const activeAlgorithm = database
    .prepare<[], string>("SELECT algorithm FROM signing_keys WHERE state = 'active'")
    .pluck();
  const retire = database.prepare<[number]>(
    "UPDATE signing_keys SET state = 'retired', retired_at_ms = ? WHERE state = 'active'",
  );
  const insert = database.prepare<[string, string, string, Uint8Array, number]>(`
    INSERT INTO signing_keys (kid, algorithm, public_jwk, encrypted_private_jwk, state, created_at_ms)
    VALUES (?, ?, ?, ?, 'active', ?)`);

  const state = database
    .prepare<[string], KeyRow['state']>('SELECT state FROM signing_keys WHERE kid = ?')
    .pluck();
  const revoke = database.prepare<[number, string]>(
    'UPDATE signing_keys SET revoked_at_ms = ifnull(revoked_at_ms, ?) WHERE kid = ?',
  );

  return {
    state: (kid: string): KeyRow['state'] | undefined => state.get(kid),
    /** From now on it is not published. */
    revoke(kid: string, atMs: number): void {
      revoke.run(atMs, kid);
    },
    list: (): StoredSigningKey[] => list.all().map(toKey),
    activate(key: Omit<StoredSigningKey, 'state'>, atMs: number): boolean {
      if (activeAlgorithm.get() === key.algorithm) return false;
      retire.run(atMs);
      const { kid, algorithm, publicJwk, encryptedPrivateJwk, createdAtMs } = key;
      insert.run(kid, algorithm, JSON.stringify(publicJwk), encryptedPrivateJwk, createdAtMs);
      return true;
    },
  };
}

function toKey(row: KeyRow): StoredSigningKey {
  return {
    kid: row.kid,
    algorithm: row.algorithm,
    publicJwk: JSON.parse(row.public_jwk) as Record<string, unknown>,
    encryptedPrivateJwk: row.encrypted_private_jwk,
    state: row.state,
    createdAtMs: row.created_at_ms,
  };
}
