import { FleetgateError, isTokenId } from '@fleetgate/shared';
import type { AdminClient, NewRevocation, RevocationView } from '../admin-client.ts';
import { EXIT_DONE, EXIT_FAILED, EXIT_PARTLY_DONE, UsageError } from '../exit.ts';
import { formatJson, formatRecord, formatRows, type Row, type RowFormat } from '../output.ts';
import { decodeToken, readToken } from './token.ts';

/** Revocations one request for the list may bring; the API's own limit is 1,000. */
const PAGE_SIZE = 500;

/** What a revocation came to. */
export interface Revoked {
  readonly revocation: RevocationView;
  readonly isNew: boolean;
}

/**
 * The `jti` of the token in a file, or on standard input for `-`. A token of another issuer is a UsageError: revoked
 * at this one it would go on being accepted.
 */
export async function tokenIdIn(file: string, admin: AdminClient): Promise<string> {
  const { claims } = decodeToken(await readToken(file));
  const { jti, iss } = claims;
  const issuer = await admin.issuerUrl();
  if (iss !== issuer) {
    throw new UsageError(
      `that token is not of the issuer ${issuer}; name the admin API of its own with --admin-url`,
    );
  }
  if (!isTokenId(jti)) throw new UsageError('that token has no jti to revoke it by');
  return jti;
}

/** Revokes clients one by one; what went wrong with one does not keep the others. */
export async function revokeClients(
  admin: AdminClient,
  clientIds: readonly string[],
  warn: (line: string) => void,
): Promise<{ revoked: Revoked[]; exitCode: number }> {
  const revoked: Revoked[] = [];
  for (const clientId of clientIds) {
    try {
      revoked.push(await admin.revoke({ kind: 'client', client_id: clientId }));
    } catch (error) {
      if (!(error instanceof FleetgateError) || error.code === 'registry_unavailable') throw error;
      warn(`${clientId}: ${error.message}`);
    }
  }
  const missing = clientIds.length - revoked.length;
  const failed = revoked.length === 0 ? EXIT_FAILED : EXIT_PARTLY_DONE;
  return { revoked, exitCode: missing === 0 ? EXIT_DONE : failed };
}

/** The moment a person writes: `now`, which is the issuer's, seconds since 1970, or RFC 3339. */
export function parseMoment(text: string): number | string {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  if (text === 'now' || /^\d{4}-\d\d-\d\dT/i.test(text)) return text;
  throw new UsageError(
    `'${text}' is no moment; write now, seconds since 1970, or a time such as 2026-01-31T12:00:00Z`,
  );
}

/** Every revocation that has not expired, page by page. */
export async function* listRevocations(admin: AdminClient): AsyncGenerator<RevocationView> {
  let cursor: string | undefined;
  do {
    const page = await admin.listRevocations({
      limit: PAGE_SIZE,
      ...(cursor === undefined ? {} : { cursor }),
    });
    yield* page.revocations;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
}

/** One revocation as `--format` asks. */
export function formatRevoked({ revocation }: Revoked, format: RowFormat): string {
  if (format === 'csv') return formatRevocations([revocation], format);
  return format === 'json' ? formatJson(revocation) : formatRecord(row(revocation));
}

/** Revocations as `--format` asks. */
export function formatRevocations(revocations: readonly RevocationView[], format: RowFormat): string {
  if (format === 'json') return formatJson(revocations);
  const columns = ['kind', 'target', 'at', 'created_at', 'expires_at'];
  return formatRows(format, revocations.map(row), { table: columns, csv: columns });
}

function row(revocation: RevocationView): Row {
  return {
    kind: revocation.kind,
    target: targetOf(revocation),
    ...('at' in revocation ? { at: time(revocation.at) } : {}),
    created_at: revocation.created_at,
    expires_at: time(revocation.expires_at),
  };
}

function targetOf(revocation: NewRevocation): string {
  switch (revocation.kind) {
    case 'token':
      return revocation.jti;
    case 'key':
      return revocation.kid;
    case 'client':
      return revocation.client_id;
    case 'issued_before':
      return revocation.client_id ?? '(all clients)';
  }
}

function time(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString();
}
