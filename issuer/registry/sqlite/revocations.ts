import type {
  NewRevocation,
  RecordedRevocation,
  RevocableToken,
  RevocationTarget,
} from '../../revocation.ts';
import type { Database } from './database.ts';

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

/** Rows one act deletes: some milliseconds of the event loop. */
const MAX_PRUNED_ROWS = 10_000;

export type RevocationStatements = ReturnType<typeof revocationStatements>;

/** The statements on revocations; each runs at once, in whatever transaction is open. */
export function revocationStatements(database: Database) {
  const insert = database.prepare<unknown[], RevocationRow>(`
    INSERT INTO revocations (kind, token_id, client_id, key_id, at, quarantined, created_at_ms, expires_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *`);
  const ofToken = database.prepare<[string], RevocationRow>('SELECT * FROM revocations WHERE token_id = ?');
  const ofKey = database.prepare<[string], RevocationRow>('SELECT * FROM revocations WHERE key_id = ?');
  // One without the mark of a quarantine does not say as much as one with it.
  const upTo = database.prepare<[string, string | null, number, 0 | 1], RevocationRow>(`
    SELECT * FROM revocations WHERE kind = ? AND client_id IS ? AND at >= ? AND quarantined >= ?
    ORDER BY at LIMIT 1`);
  const list = database.prepare<[number, number, number], RevocationRow>(
    'SELECT * FROM revocations WHERE sequence > ? AND expires_at > ? ORDER BY sequence LIMIT ?',
  );
  const isThere = database
    .prepare<[number, number], number>('SELECT 1 FROM revocations WHERE sequence = ? AND created_at_ms = ?')
    .pluck();
  const lastSequence = database
    .prepare<[], number>('SELECT ifnull(max(sequence), 0) FROM revocations')
    .pluck();
  const prune = database.prepare<[number, number]>(
    'DELETE FROM revocations WHERE sequence IN (SELECT sequence FROM revocations WHERE expires_at <= ? LIMIT ?)',
  );
  const hit = database
    .prepare<[string, string, string, number, string, number, number], number>(`
      SELECT EXISTS (SELECT 1 FROM revocations WHERE token_id = ?)
        OR EXISTS (SELECT 1 FROM revocations WHERE key_id = ?)
        OR EXISTS (SELECT 1 FROM revocations WHERE kind = 'client' AND client_id = ? AND at >= ?)
        OR EXISTS (SELECT 1 FROM revocations WHERE kind = 'issued_before' AND client_id = ? AND at > ?)
        OR EXISTS (SELECT 1 FROM revocations WHERE kind = 'issued_before' AND client_id IS NULL AND at > ?)`)
    .pluck();
  // `at IS NOT NULL` says nothing new, but lets the index that holds only such rows be used.
  const lastMoment = 'SELECT max(at) FROM revocations WHERE at IS NOT NULL';
  const lastOfAll = database.prepare<[], number | null>(lastMoment).pluck();
  const validFrom = database
    .prepare<[string, string], number>(`
      SELECT max(
        ifnull((${lastMoment} AND kind = 'client' AND client_id = ?) + 1, 0),
        ifnull((${lastMoment} AND kind = 'issued_before' AND client_id = ?), 0),
        ifnull((${lastMoment} AND kind = 'issued_before' AND client_id IS NULL), 0))`)
    .pluck();

  function find(revocation: NewRevocation): RevocationRow | undefined {
    switch (revocation.kind) {
      case 'token':
        return ofToken.get(revocation.tokenId);
      case 'key':
        return ofKey.get(revocation.keyId);
      default:
        return upTo.get(
          revocation.kind,
          revocation.clientId ?? null,
          revocation.atSeconds,
          markOf(revocation),
        );
    }
  }

  return {
    /** One that takes back all that this one would, and is recorded already. */
    find(revocation: NewRevocation): RecordedRevocation | undefined {
      const row = find(revocation);
      return row === undefined ? undefined : toRevocation(row);
    },
    insert(revocation: NewRevocation, createdAtMs: number): RecordedRevocation {
      const row = insert.get(
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
     * A cursor names a row, by number and time of recording. Where there is no such row the list is the whole one.
     * That is right in each case: of a row that was pruned only older ones are gone, which had expired and matter to
     * nobody; and in a database that was restored from a backup the numbers are given out anew, to other rows.
     */
    list(after: string | undefined, nowSeconds: number, limit: number): RecordedRevocation[] {
      const [sequence, createdAtMs] = parseCursor(after);
      const from = isThere.get(sequence, createdAtMs) === undefined ? 0 : sequence;
      return list.all(from, nowSeconds, limit).map(toRevocation);
    },
    lastSequence: (): number => lastSequence.get() as number,
    prune: (nowSeconds: number): number => prune.run(nowSeconds, MAX_PRUNED_ROWS).changes,
    hits: ({ tokenId, keyId, clientId, issuedAtSeconds: at }: RevocableToken): boolean =>
      hit.get(tokenId, keyId, clientId, at, clientId, at, at) === 1,
    /**
     * Unset when no recorded revocation would hit a new token of this client with that `iat`, else the earliest `iat`
     * that none would hit. A token issued after all revocations, as nearly each is, takes one short look.
     */
    validFrom(clientId: string, issuedAtSeconds: number): number | undefined {
      if (issuedAtSeconds > (lastOfAll.get() ?? -1)) return undefined;
      const seconds = validFrom.get(clientId, clientId) as number;
      return issuedAtSeconds < seconds ? seconds : undefined;
    },
  };
}

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
