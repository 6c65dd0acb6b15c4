import type { StoredContext } from '../../oscore-context.ts';
import { type ClientSecret, isLiveSecret, LAST_USE_GRANULARITY_MS, MAX_LIVE_SECRETS } from '../../secrets.ts';
import type {
  OwnedContext,
  OwnedSecret,
  SecretQuery,
  SecretRotation,
  SecretUse,
} from '../secret-registry.ts';
import type { Database } from './database.ts';

interface SecretRow {
  slot: number;
  secret_id: string;
  hash: Buffer;
  created_at_ms: number;
  made_until_ms: number | null;
  expires_at_ms: number | null;
  first_used_at_ms: number | null;
  last_used_at_ms: number | null;
  ends_on_succession: 0 | 1;
  kid: Buffer | null;
  encrypted_context: Buffer | null;
}

interface OwnedRow extends SecretRow {
  registration: number;
  client_id: string;
}

const owned = `SELECT client_secrets.*,
    (SELECT client_id FROM clients WHERE clients.registration = client_secrets.registration) AS client_id
  FROM client_secrets`;

// What is asked for is said as the partial indexes say it, or they would not be used.
export const neverUsedQuery = `${owned}
  WHERE first_used_at_ms IS NULL AND (created_at_ms, registration, slot) > (@atMs, @registration, @slot)
    AND (expires_at_ms IS NULL OR expires_at_ms > @nowMs)
  ORDER BY created_at_ms, registration, slot LIMIT @limit`;
export const expiringQuery = `${owned}
  WHERE expires_at_ms BETWEEN @atMs AND @untilMs
    AND (expires_at_ms, registration, slot) > (@atMs, @registration, @slot)
  ORDER BY expires_at_ms, registration, slot LIMIT @limit`;

export type ClientSecretStatements = ReturnType<typeof clientSecretStatements>;

/** The statements on secrets; each runs at once, in whatever transaction is open. */
export function clientSecretStatements(database: Database) {
  // Read for each token request: sorted by SQLite, or joined to the client, it takes several times as long.
  const ofClient = database.prepare<[number], SecretRow>(
    'SELECT * FROM client_secrets WHERE registration = ?',
  );
  const insert = database.prepare<unknown[]>(`
    INSERT INTO client_secrets (registration, slot, secret_id, hash, created_at_ms, made_until_ms, expires_at_ms, kid,
      encrypted_context)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  const remove = database.prepare<[number, number]>(
    'DELETE FROM client_secrets WHERE registration = ? AND slot = ?',
  );
  const setEnd = database.prepare<[number | null, 0 | 1, number, number]>(
    'UPDATE client_secrets SET expires_at_ms = ?, ends_on_succession = ? WHERE registration = ? AND slot = ?',
  );
  const setFirstUse = database.prepare<[number, number, number, string]>(`
    UPDATE client_secrets SET first_used_at_ms = ?, last_used_at_ms = ?
    WHERE registration = ? AND secret_id = ? AND first_used_at_ms IS NULL`);
  const setLastUse = database.prepare<[number, number, string, number]>(
    'UPDATE client_secrets SET last_used_at_ms = ? WHERE registration = ? AND secret_id = ? AND last_used_at_ms <= ?',
  );
  const endSucceeded = database.prepare<[number, number, string]>(`
    UPDATE client_secrets SET expires_at_ms = min(ifnull(expires_at_ms, 9e15), ?), ends_on_succession = 0
    WHERE registration = ? AND secret_id <> ? AND ends_on_succession`);
  // Joined to the client it takes four times as long.
  const ofKid = database
    .prepare<[Uint8Array], [clientId: string, secretId: string, encrypted: Buffer]>(
      `SELECT (SELECT client_id FROM clients WHERE clients.registration = client_secrets.registration), secret_id,
        encrypted_context
      FROM client_secrets WHERE kid = ?`,
    )
    .raw();
  const contexts = database.prepare<[Uint8Array, number], { kid: Buffer; encrypted_context: Buffer }>(
    'SELECT kid, encrypted_context FROM client_secrets WHERE kid > ? ORDER BY kid LIMIT ?',
  );
  const setContext = database.prepare<[Uint8Array, Uint8Array]>(
    'UPDATE client_secrets SET encrypted_context = ? WHERE kid = ?',
  );
  const neverUsed = database.prepare<unknown[], OwnedRow>(neverUsedQuery);
  const expiring = database.prepare<unknown[], OwnedRow>(expiringQuery);

  /** From old to new. */
  function secretsOf(registration: number): ClientSecret[] {
    return ofClient.all(registration).map(toSecret).sort(byAge);
  }

  function insertAt(registration: number, slot: number, secret: ClientSecret): void {
    const { secretId, hash, createdAtMs, expiresAtMs = null, context } = secret;
    const { kid = null, encrypted = null } = context ?? {};
    insert.run(registration, slot, secretId, hash, createdAtMs, expiresAtMs, expiresAtMs, kid, encrypted);
  }

  return {
    ofClient: secretsOf,
    contextOf(kid: Uint8Array): OwnedContext | undefined {
      const row = ofKid.get(kid);
      return row && { clientId: row[0], secretId: row[1], context: { kid, encrypted: row[2] } };
    },
    /** Ordered by kid. */
    contextsAfter: (kid: Uint8Array, limit: number): StoredContext[] =>
      contexts.all(kid, limit).map((row) => ({ kid: row.kid, encrypted: row.encrypted_context })),
    setContext({ kid, encrypted }: StoredContext): void {
      setContext.run(encrypted, kid);
    },
    /** A secret of a client that is new, in the order they were made. */
    insert(registration: number, secret: ClientSecret): void {
      insertAt(registration, ofClient.all(registration).length, secret);
    },
    /** The secrets after the rotation; `undefined`, with nothing written, when it would be one live one too many. */
    rotate(registration: number, rotation: SecretRotation): ClientSecret[] | undefined {
      const { secret, olderEndAtMs, olderEndOnSuccession } = rotation;
      const rows = ofClient.all(registration);
      const isLive = (row: SecretRow) => isLiveSecret(toSecret(row), secret.createdAtMs);
      const remaining = rows.filter(isLive).map((row) => ({
        ...row,
        expires_at_ms: earliest(row.made_until_ms, olderEndAtMs ?? null),
        ends_on_succession: olderEndOnSuccession ? (1 as const) : (0 as const),
      }));
      if (remaining.filter(isLive).length >= MAX_LIVE_SECRETS) return undefined;
      for (const row of remaining)
        setEnd.run(row.expires_at_ms, row.ends_on_succession, registration, row.slot);
      insertAt(registration, freeSlot(registration, secret.createdAtMs), secret);
      return secretsOf(registration);
    },
    end(registration: number, secretId: string, atMs: number): 'ended' | 'already' | 'secret_unknown' {
      const row = ofClient.all(registration).find((one) => one.secret_id === secretId);
      if (row === undefined) return 'secret_unknown';
      if (!isLiveSecret(toSecret(row), atMs)) return 'already';
      setEnd.run(atMs, 0, registration, row.slot);
      return 'ended';
    },
    /** Whether it was the first. */
    recordUse({ registration, secretId, atMs, succeededEndAtMs }: SecretUse): boolean {
      const isFirst = setFirstUse.run(atMs, atMs, registration, secretId).changes > 0;
      if (isFirst) endSucceeded.run(succeededEndAtMs, registration, secretId);
      else setLastUse.run(atMs, registration, secretId, atMs - LAST_USE_GRANULARITY_MS);
      return isFirst;
    },
    list(query: SecretQuery): OwnedSecret[] {
      const { nowMs, limit, after } = query;
      if (query.state === 'never_used') {
        const { atMs, registration, slot } = after ?? { atMs: -1, registration: 0, slot: 0 };
        return neverUsed
          .all({ atMs, registration, slot, nowMs, limit })
          .map((row) => toOwned(row, row.created_at_ms));
      }
      // What ends now has ended.
      const { atMs, registration, slot } =
        after !== undefined && after.atMs > nowMs
          ? after
          : { atMs: nowMs, registration: Number.MAX_SAFE_INTEGER, slot: 0 };
      return expiring
        .all({ atMs, registration, slot, untilMs: query.untilMs, limit })
        .map((row) => toOwned(row, row.expires_at_ms as number));
    },
  };

  /** Ended ones are kept until their place is needed: who presents one is told apart in the audit trail. */
  function freeSlot(registration: number, atMs: number): number {
    const rows = ofClient.all(registration);
    if (rows.length < MAX_LIVE_SECRETS) return rows[0]?.slot === 0 ? 1 : 0;
    const ended = rows.filter((row) => !isLiveSecret(toSecret(row), atMs));
    const [oldestEnded] = ended.sort((a, b) => a.created_at_ms - b.created_at_ms);
    const { slot } = oldestEnded as SecretRow;
    remove.run(registration, slot);
    return slot;
  }
}

const byAge = (a: ClientSecret, b: ClientSecret) => a.createdAtMs - b.createdAtMs;

function earliest(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.min(one, other);
}

function toSecret(row: SecretRow): ClientSecret {
  return {
    secretId: row.secret_id,
    hash: row.hash,
    createdAtMs: row.created_at_ms,
    expiresAtMs: row.expires_at_ms ?? undefined,
    firstUsedAtMs: row.first_used_at_ms ?? undefined,
    lastUsedAtMs: row.last_used_at_ms ?? undefined,
    endsOnSuccession: row.ends_on_succession === 1,
    ...(row.kid === null || row.encrypted_context === null
      ? {}
      : { context: { kid: row.kid, encrypted: row.encrypted_context } }),
  };
}

function toOwned(row: OwnedRow, atMs: number): OwnedSecret {
  const { registration, slot } = row;
  return { ...toSecret(row), clientId: row.client_id, position: { atMs, registration, slot } };
}
