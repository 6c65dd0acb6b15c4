import type {
  NewRevocation,
  RecordedRevocation,
  RevocableToken,
  RevocationTarget,
} from '../../revocation.ts';
import { type Act, sql, type Value } from './statement.ts';

interface RevocationRow {
  sequence: number;
  kind: RecordedRevocation['kind'];
  token_id: string | null;
  client_id: string | null;
  key_id: string | null;
  at: number | null;
  quarantined: 0 | 1;
  created_at_ms: number;
  expires_at: number;
}

/** Rows one act deletes: some milliseconds. */
const MAX_PRUNED_ROWS = 10_000;

const insert = sql<Value[], RevocationRow>(`
  INSERT INTO revocations (kind, token_id, client_id, key_id, at, quarantined, created_at_ms, expires_at)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *`);
const ofToken = sql<[tokenId: string], RevocationRow>('SELECT * FROM revocations WHERE token_id = ?');
const ofKey = sql<[keyId: string], RevocationRow>('SELECT * FROM revocations WHERE key_id = ?');
// One without the mark of a quarantine does not say as much as one with it.
const upTo = sql<[kind: string, clientId: string, at: number, quarantined: 0 | 1], RevocationRow>(`
  SELECT * FROM revocations WHERE kind = ? AND client_id = ? AND at >= ? AND quarantined >= ?
  ORDER BY at LIMIT 1`);
const ofAllUpTo = sql<[at: number], RevocationRow>(`
  SELECT * FROM revocations WHERE kind = 'issued_before' AND client_id IS NULL AND at >= ? ORDER BY at LIMIT 1`);
const list = sql<[sequence: number, nowSeconds: number, limit: number], RevocationRow>(
  'SELECT * FROM revocations WHERE sequence > ? AND expires_at > ? ORDER BY sequence LIMIT ?',
);
const named = sql<[sequence: number, createdAtMs: number], { sequence: number }>(
  'SELECT sequence FROM revocations WHERE sequence = ? AND created_at_ms = ?',
);
const lastSequence = sql<[], { last: number }>('SELECT coalesce(max(sequence), 0) AS last FROM revocations');
const prune = sql<[nowSeconds: number, limit: number]>(
  'DELETE FROM revocations WHERE sequence IN (SELECT sequence FROM revocations WHERE expires_at <= ? LIMIT ?)',
);
type TokenField = 'tokenId' | 'keyId' | 'clientId' | 'at';
/** Whether a revocation hits a token, 0 or 1; each field as SQL has it. */
export const isHitSql = ({ tokenId, keyId, clientId, at }: Readonly<Record<TokenField, string>>) => `
  CASE WHEN EXISTS (SELECT 1 FROM revocations WHERE token_id = ${tokenId})
    OR EXISTS (SELECT 1 FROM revocations WHERE key_id = ${keyId})
    OR EXISTS (SELECT 1 FROM revocations WHERE kind = 'client' AND client_id = ${clientId} AND at >= ${at})
    OR EXISTS (SELECT 1 FROM revocations WHERE kind = 'issued_before' AND client_id = ${clientId} AND at > ${at})
    OR EXISTS (SELECT 1 FROM revocations WHERE kind = 'issued_before' AND client_id IS NULL AND at > ${at})
  THEN 1 ELSE 0 END`;
const hit = sql<[Record<TokenField, string | number>], { is_hit: 0 | 1 }>(
  `SELECT ${isHitSql({ tokenId: '@tokenId', keyId: '@keyId', clientId: '@clientId', at: '@at' })} AS is_hit`,
);
// `at IS NOT NULL` says nothing new, but lets the index that holds only such rows be used.
const lastMoment = 'SELECT max(at) FROM revocations WHERE at IS NOT NULL';
const lastOfAll = sql<[], { at: number | null }>(`SELECT (${lastMoment}) AS at`);
const validFrom = sql<
  [{ clientId: string }],
  { of_client: number | null; before: number | null; of_all: number | null }
>(`
  SELECT (${lastMoment} AND kind = 'client' AND client_id = @clientId) AS of_client,
    (${lastMoment} AND kind = 'issued_before' AND client_id = @clientId) AS before,
    (${lastMoment} AND kind = 'issued_before' AND client_id IS NULL) AS of_all`);

function* find(revocation: NewRevocation): Act<RevocationRow | undefined> {
  switch (revocation.kind) {
    case 'token':
      return yield* ofToken.get(revocation.tokenId);
    case 'key':
      return yield* ofKey.get(revocation.keyId);
    default: {
      const { kind, clientId, atSeconds } = revocation;
      if (clientId === undefined) return yield* ofAllUpTo.get(atSeconds);
      return yield* upTo.get(kind, clientId, atSeconds, markOf(revocation));
    }
  }
}

/** Revocations, within an act. */
export const revocations = {
  /** One that takes back all that this one would, and is recorded already. */
  *find(revocation: NewRevocation): Act<RecordedRevocation | undefined> {
    const row = yield* find(revocation);
    return row && toRevocation(row);
  },
  *insert(revocation: NewRevocation, createdAtMs: number): Act<RecordedRevocation> {
    const [row] = yield* insert.all(
      revocation.kind,
      revocation.kind === 'token' ? revocation.tokenId : null,
      'clientId' in revocation ? (revocation.clientId ?? null) : null,
      revocation.kind === 'key' ? revocation.keyId : null,
      'atSeconds' in revocation ? revocation.atSeconds : null,
      markOf(revocation),
      createdAtMs,
      revocation.expiresAtSeconds,
    );
    return toRevocation(row as RevocationRow);
  },
  /**
   * A cursor names a row, by number and time of recording. Where there is no such row the list is the whole one. That
   * is right in each case: of a row that was pruned only older ones are gone, which had expired and matter to nobody;
   * and in a database that was restored from a backup the numbers are given out anew, to other rows.
   */
  *list(after: string | undefined, nowSeconds: number, limit: number): Act<RecordedRevocation[]> {
    const [sequence, createdAtMs] = parseCursor(after);
    const from = (yield* named.get(sequence, createdAtMs)) === undefined ? 0 : sequence;
    return (yield* list.all(from, nowSeconds, limit)).map(toRevocation);
  },
  *lastSequence(): Act<number> {
    return (yield* lastSequence.get())?.last ?? 0;
  },
  *prune(nowSeconds: number): Act<number> {
    return yield* prune.run(nowSeconds, MAX_PRUNED_ROWS);
  },
  *hits({ tokenId, keyId, clientId, issuedAtSeconds: at }: RevocableToken): Act<boolean> {
    return (yield* hit.get({ tokenId, keyId, clientId, at }))?.is_hit === 1;
  },
  /** The latest moment any revocation names, seconds since 1970; -1 for none. */
  *lastMoment(): Act<number> {
    return (yield* lastOfAll.get())?.at ?? -1;
  },
  /**
   * Unset when no recorded revocation would hit a new token of this client with that `iat`, else the earliest `iat`
   * that none would hit. A token issued after all revocations, as nearly each is, takes one short look.
   */
  *validFrom(clientId: string, issuedAtSeconds: number): Act<number | undefined> {
    if (issuedAtSeconds > (yield* revocations.lastMoment())) return undefined;
    const { of_client = null, before = null, of_all = null } = (yield* validFrom.get({ clientId })) ?? {};
    const seconds = Math.max((of_client ?? -1) + 1, before ?? 0, of_all ?? 0);
    return issuedAtSeconds < seconds ? seconds : undefined;
  },
};

/** Digits of a row's number in a cursor: padded, so that cursors compare as text. */
const SEQUENCE_DIGITS = 16;
const cursorPattern = /^(\d{16})\.(\d{1,16})$/;

function formatCursor({ sequence, created_at_ms }: RevocationRow): string {
  return `${String(sequence).padStart(SEQUENCE_DIGITS, '0')}.${created_at_ms}`;
}

function parseCursor(cursor = ''): [sequence: number, createdAtMs: number] {
  const [, sequence = '0', createdAtMs = '0'] = cursorPattern.exec(cursor) ?? [];
  return [Number(sequence), Number(createdAtMs)];
}

function markOf(revocation: NewRevocation): 0 | 1 {
  return revocation.kind === 'client' && revocation.isQuarantined ? 1 : 0;
}

function toRevocation(row: RevocationRow): RecordedRevocation {
  return {
    ...target(row),
    cursor: formatCursor(row),
    createdAtMs: row.created_at_ms,
    expiresAtSeconds: row.expires_at,
  };
}

function target({ kind, token_id, client_id, key_id, at, quarantined }: RevocationRow): RevocationTarget {
  switch (kind) {
    case 'token':
      return { kind, tokenId: token_id as string };
    case 'key':
      return { kind, keyId: key_id as string };
    case 'client':
      return {
        kind,
        clientId: client_id as string,
        atSeconds: at as number,
        ...(quarantined === 1 ? { isQuarantined: true } : {}),
      };
    case 'issued_before':
      return { kind, ...(client_id === null ? {} : { clientId: client_id }), atSeconds: at as number };
  }
}
