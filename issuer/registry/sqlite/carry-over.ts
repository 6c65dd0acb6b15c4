import type { NewRevocation } from '../../revocation.ts';
import { revocations } from '../acts/revocations.ts';
import type { Database } from './database.ts';
import { MAX_REPORTED_NAMES, type NamedClients } from './restore.ts';
import { actRunner } from './run-act.ts';

interface PreviousRevocation {
  kind: NewRevocation['kind'];
  token_id: string | null;
  client_id: string | null;
  key_id: string | null;
  at: number | null;
  quarantined: 0 | 1;
  created_at_ms: number;
  expires_at: number;
}

/**
 * Takes from the attached database `previous` what must not be undone: revocations, in their order, and what keeps
 * clients from getting tokens. How many revocations were not there yet.
 */
export function carryOver(database: Database, nowMs: number): number {
  const run = actRunner(database);
  const live = database.prepare<[number], PreviousRevocation>(
    'SELECT * FROM previous.revocations WHERE expires_at > ? ORDER BY sequence',
  );
  let carried = 0;
  for (const row of live.all(Math.floor(nowMs / 1000))) {
    const revocation = toRevocation(row);
    if (run(revocations.find(revocation)) !== undefined) continue;
    run(revocations.insert(revocation, row.created_at_ms));
    carried += 1;
  }
  database.exec(`
    -- A revoked key signs nothing and is not published, also where it was the active one; the trail knows it for longer.
    DELETE FROM main.signing_keys WHERE kid IN (
      SELECT key_id FROM main.revocations WHERE kind = 'key'
      UNION SELECT target FROM previous.audit WHERE action = 'key.revoke' AND result = 'ok');
    -- One that was to follow and was taken out since lay beside a key that was seen; and without an active key a start
    -- makes both anew.
    DELETE FROM main.signing_keys WHERE state = 'next' AND (
      kid NOT IN (SELECT kid FROM previous.signing_keys)
      OR NOT EXISTS (SELECT 1 FROM main.signing_keys WHERE state = 'active'));

    -- What was used once is not to be used again.
    INSERT OR IGNORE INTO main.used_assertions SELECT * FROM previous.used_assertions;

    -- A claim code that was used up or revoked opens nothing again.
    UPDATE enrollments SET uses = max(enrollments.uses, other.uses),
      revoked_at_ms = ifnull(enrollments.revoked_at_ms, other.revoked_at_ms)
    FROM previous.enrollments AS other WHERE other.id = enrollments.id;

    UPDATE clients SET issued_ahead_at = max(ifnull(clients.issued_ahead_at, 0), other.issued_ahead_at)
    FROM previous.clients AS other
    WHERE other.client_id = clients.client_id AND other.issued_ahead_at IS NOT NULL;

    UPDATE clients SET quarantined_at_ms = other.quarantined_at_ms, quarantine_reason = other.quarantine_reason
    FROM previous.clients AS other
    WHERE other.client_id = clients.client_id AND other.quarantined_at_ms IS NOT NULL
      AND clients.quarantined_at_ms IS NULL;`);
  return carried;
}

function toRevocation(row: PreviousRevocation): NewRevocation {
  const expiresAtSeconds = row.expires_at;
  switch (row.kind) {
    case 'token':
      return { kind: 'token', tokenId: row.token_id as string, expiresAtSeconds };
    case 'key':
      return { kind: 'key', keyId: row.key_id as string, expiresAtSeconds };
    case 'client':
      return {
        kind: 'client',
        clientId: row.client_id as string,
        atSeconds: row.at as number,
        ...(row.quarantined === 1 ? { isQuarantined: true } : {}),
        expiresAtSeconds,
      };
    case 'issued_before':
      return {
        kind: 'issued_before',
        ...(row.client_id === null ? {} : { clientId: row.client_id }),
        atSeconds: row.at as number,
        expiresAtSeconds,
      };
  }
}

/** How the restored clients differ from those of the attached `previous`, where that continued the backup. */
export function compareClients(
  database: Database,
  isContinued: boolean,
): { readonly back: NamedClients; readonly gone: NamedClients; readonly changed: NamedClients } {
  const none = { count: 0, names: [] };
  if (!isContinued) return { back: none, gone: none, changed: none };
  const named = (query: string): NamedClients => ({
    count: database.prepare<[], number>(`SELECT count(*) FROM (${query})`).pluck().get() as number,
    names: database.prepare<[], string>(`${query} ORDER BY 1 LIMIT ${MAX_REPORTED_NAMES}`).pluck().all(),
  });
  const missing = (from: string, other: string) =>
    `SELECT client_id FROM ${from} AS one
     WHERE NOT EXISTS (SELECT 1 FROM ${other} AS other WHERE other.client_id = one.client_id)`;
  return {
    back: named(missing('main.clients', 'previous.clients')),
    gone: named(missing('previous.clients', 'main.clients')),
    changed: named(`
      SELECT one.client_id FROM main.clients AS one JOIN previous.clients AS other USING (client_id)
      WHERE one.updated_at_ms <> other.updated_at_ms OR one.registration <> other.registration
        OR (SELECT group_concat(hex(hash)) FROM main.client_secrets WHERE registration = one.registration)
          IS NOT (SELECT group_concat(hex(hash)) FROM previous.client_secrets WHERE registration = other.registration)`),
  };
}
