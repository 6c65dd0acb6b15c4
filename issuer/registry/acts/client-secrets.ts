import type { StoredContext } from '../../oscore-context.ts';
import { type ClientSecret, isLiveSecret, LAST_USE_GRANULARITY_MS, MAX_LIVE_SECRETS } from '../../secrets.ts';
import type {
  OwnedContext,
  OwnedSecret,
  SecretQuery,
  SecretRotation,
  SecretUse,
} from '../secret-registry.ts';
import { type Act, sql, type Value } from './statement.ts';

export interface SecretRow {
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

// Read for each token request: sorted by the store, or joined to the client, SQLite takes several times as long.
const ofClient = sql<[registration: number], SecretRow>(
  'SELECT * FROM client_secrets WHERE registration = ?',
);
const insert = sql<Value[]>(`
  INSERT INTO client_secrets (registration, slot, secret_id, hash, created_at_ms, made_until_ms, expires_at_ms, kid,
    encrypted_context)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`);
const remove = sql<[registration: number, slot: number]>(
  'DELETE FROM client_secrets WHERE registration = ? AND slot = ?',
);
const setEnd = sql<[atMs: number | null, endsOnSuccession: 0 | 1, registration: number, slot: number]>(
  'UPDATE client_secrets SET expires_at_ms = ?, ends_on_succession = ? WHERE registration = ? AND slot = ?',
);
const setFirstUse = sql<[atMs: number, lastMs: number, registration: number, secretId: string]>(`
  UPDATE client_secrets SET first_used_at_ms = ?, last_used_at_ms = ?
  WHERE registration = ? AND secret_id = ? AND first_used_at_ms IS NULL`);
const setLastUse = sql<[atMs: number, registration: number, secretId: string, beforeMs: number]>(
  'UPDATE client_secrets SET last_used_at_ms = ? WHERE registration = ? AND secret_id = ? AND last_used_at_ms <= ?',
);
const endSucceeded = sql<[{ atMs: number; registration: number; secretId: string }]>(`
  UPDATE client_secrets SET ends_on_succession = 0,
    expires_at_ms = CASE WHEN expires_at_ms < @atMs THEN expires_at_ms ELSE @atMs END
  WHERE registration = @registration AND secret_id <> @secretId AND ends_on_succession = 1`);
// Joined to the client it takes four times as long.
const ofKid = sql<[kid: Uint8Array], { client_id: string; secret_id: string; encrypted_context: Buffer }>(
  `SELECT (SELECT client_id FROM clients WHERE clients.registration = client_secrets.registration) AS client_id,
    secret_id, encrypted_context
  FROM client_secrets WHERE kid = ?`,
);
const contexts = sql<[kid: Uint8Array, limit: number], { kid: Buffer; encrypted_context: Buffer }>(
  'SELECT kid, encrypted_context FROM client_secrets WHERE kid > ? ORDER BY kid LIMIT ?',
);
const setContext = sql<[encrypted: Uint8Array, kid: Uint8Array]>(
  'UPDATE client_secrets SET encrypted_context = ? WHERE kid = ?',
);

const owned = `SELECT client_secrets.*,
    (SELECT client_id FROM clients WHERE clients.registration = client_secrets.registration) AS client_id
  FROM client_secrets`;
interface SecretPage {
  readonly [name: string]: number;
}
// What is asked for is said as the partial indexes say it, or they would not be used.
export const neverUsed = sql<[SecretPage], OwnedRow>(`${owned}
  WHERE first_used_at_ms IS NULL AND (created_at_ms, registration, slot) > (@atMs, @registration, @slot)
    AND (expires_at_ms IS NULL OR expires_at_ms > @nowMs)
  ORDER BY created_at_ms, registration, slot LIMIT @limit`);
export const expiring = sql<[SecretPage], OwnedRow>(`${owned}
  WHERE expires_at_ms BETWEEN @atMs AND @untilMs
    AND (expires_at_ms, registration, slot) > (@atMs, @registration, @slot)
  ORDER BY expires_at_ms, registration, slot LIMIT @limit`);

/** A secret, and where it is kept. */
interface PlacedSecret {
  readonly registration: number;
  readonly slot: number;
  readonly secret: ClientSecret;
}

function insertValues({ registration, slot, secret }: PlacedSecret): Value[] {
  const { secretId, hash, createdAtMs, expiresAtMs = null, context } = secret;
  const { kid = null, encrypted = null } = context ?? {};
  return [registration, slot, secretId, hash, createdAtMs, expiresAtMs, expiresAtMs, kid, encrypted];
}

/** Ended ones are kept until their place is needed: who presents one is told apart in the audit trail. */
function* freeSlot(registration: number, rows: readonly SecretRow[], atMs: number): Act<number> {
  if (rows.length < MAX_LIVE_SECRETS) return rows[0]?.slot === 0 ? 1 : 0;
  const ended = rows.filter((row) => !isLiveSecret(toSecret(row), atMs));
  const [oldestEnded] = ended.sort((a, b) => a.created_at_ms - b.created_at_ms);
  const { slot } = oldestEnded as SecretRow;
  yield* remove.run(registration, slot);
  return slot;
}

/** Secrets, within an act. */
export const clientSecrets = {
  /** From old to new. */
  *ofClient(registration: number): Act<ClientSecret[]> {
    return secretsFromOldToNew(yield* ofClient.all(registration));
  },
  /** Those of each. */
  *ofEach(registrations: readonly number[]): Act<ClientSecret[][]> {
    const rows = yield* ofClient.allOfEach(registrations.map((registration) => [registration]));
    return rows.map(secretsFromOldToNew);
  },
  *contextOf(kid: Uint8Array): Act<OwnedContext | undefined> {
    const row = yield* ofKid.get(kid);
    return (
      row && {
        clientId: row.client_id,
        secretId: row.secret_id,
        context: { kid, encrypted: row.encrypted_context },
      }
    );
  },
  /** Ordered by kid. */
  *contextsAfter(kid: Uint8Array, limit: number): Act<StoredContext[]> {
    const rows = yield* contexts.all(kid, limit);
    return rows.map((row) => ({ kid: row.kid, encrypted: row.encrypted_context }));
  },
  *setContexts(changed: readonly StoredContext[]): Act<void> {
    yield* setContext.runEach(changed.map(({ kid, encrypted }) => [encrypted, kid]));
  },
  /** The secrets of clients that are new, in the order they were made. */
  *insertAll(secrets: readonly PlacedSecret[]): Act<void> {
    yield* insert.runEach(secrets.map(insertValues));
  },
  /** The secrets after the rotation; `undefined`, with nothing written, when it would be one live one too many. */
  *rotate(registration: number, rotation: SecretRotation): Act<ClientSecret[] | undefined> {
    const { secret, olderEndAtMs, olderEndOnSuccession } = rotation;
    const rows = yield* ofClient.all(registration);
    const isLive = (row: SecretRow) => isLiveSecret(toSecret(row), secret.createdAtMs);
    const remaining = rows.filter(isLive).map((row) => ({
      ...row,
      expires_at_ms: earliest(row.made_until_ms, olderEndAtMs ?? null),
      ends_on_succession: olderEndOnSuccession ? (1 as const) : (0 as const),
    }));
    if (remaining.filter(isLive).length >= MAX_LIVE_SECRETS) return undefined;
    yield* setEnd.runEach(
      remaining.map((row) => [row.expires_at_ms, row.ends_on_succession, registration, row.slot]),
    );
    const after = yield* ofClient.all(registration);
    const slot = yield* freeSlot(registration, after, secret.createdAtMs);
    yield* insert.run(...insertValues({ registration, slot, secret }));
    return yield* clientSecrets.ofClient(registration);
  },
  *end(registration: number, secretId: string, atMs: number): Act<'ended' | 'already' | 'secret_unknown'> {
    const row = (yield* ofClient.all(registration)).find((one) => one.secret_id === secretId);
    if (row === undefined) return 'secret_unknown';
    if (!isLiveSecret(toSecret(row), atMs)) return 'already';
    yield* setEnd.run(atMs, 0, registration, row.slot);
    return 'ended';
  },
  /** Whether it was the first. */
  *recordUse({ registration, secretId, atMs, succeededEndAtMs }: SecretUse): Act<boolean> {
    const isFirst = (yield* setFirstUse.run(atMs, atMs, registration, secretId)) > 0;
    if (isFirst) yield* endSucceeded.run({ atMs: succeededEndAtMs, registration, secretId });
    else yield* setLastUse.run(atMs, registration, secretId, atMs - LAST_USE_GRANULARITY_MS);
    return isFirst;
  },
  *list(query: SecretQuery): Act<OwnedSecret[]> {
    const { nowMs, limit, after } = query;
    if (query.state === 'never_used') {
      const { atMs, registration, slot } = after ?? { atMs: -1, registration: 0, slot: 0 };
      const rows = yield* neverUsed.all({ atMs, registration, slot, nowMs, limit });
      return rows.map((row) => toOwned(row, row.created_at_ms));
    }
    // What ends now has ended.
    const { atMs, registration, slot } =
      after !== undefined && after.atMs > nowMs
        ? after
        : { atMs: nowMs, registration: Number.MAX_SAFE_INTEGER, slot: 0 };
    const rows = yield* expiring.all({ atMs, registration, slot, untilMs: query.untilMs, limit });
    return rows.map((row) => toOwned(row, row.expires_at_ms as number));
  },
};

/** Secrets as the registry gives them. */
export const secretsFromOldToNew = (rows: readonly SecretRow[]): ClientSecret[] =>
  rows.map(toSecret).sort(byAge);

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
