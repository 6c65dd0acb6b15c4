import type { NamedClients, RestoreReport } from '@fleetgate/issuer';

/** Names of clients in one line of a note; `--format json` has more. */
const NAMES_IN_NOTE = 10;

/** What `restore` prints. */
export function restoreView(file: string, report: RestoreReport) {
  const { backupAtMs, checkpoint, known, carriedRevocations, revokedBefore, asideFile } = report;
  return {
    database: file,
    ...(backupAtMs === 0 ? {} : { backup_at: new Date(backupAtMs).toISOString() }),
    ...(checkpoint === undefined ? {} : { checkpoint: `${checkpoint.sequence}:${checkpoint.hash}` }),
    known_since: known,
    carried_revocations: carriedRevocations,
    ...(revokedBefore === undefined ? {} : { revoked_before: new Date(revokedBefore * 1000).toISOString() }),
    ...(asideFile === undefined ? {} : { replaced: asideFile }),
    clients_back: report.back.names,
    clients_gone: report.gone.names,
    clients_changed: report.changed.names,
  };
}

/** What restoring brought back and took away, a line each. */
export function restoreNotes(report: RestoreReport): string[] {
  const { known, back, gone, changed } = report;
  const notes = [
    known === 'all'
      ? `revocations made since the backup: ${report.carriedRevocations} carried over`
      : 'what was revoked since the backup is not known in full: every token issued so far is revoked, and each client fetches a new one',
  ];
  const list = (words: string, clients: NamedClients) => {
    if (clients.count > 0) notes.push(`${words}: ${names(clients)}`);
  };
  list('deleted since the backup and there again, with their secrets', back);
  list('registered since the backup and gone', gone);
  list('changed since the backup and as they were, with the secrets they had', changed);
  if (known !== 'all') {
    notes.push(
      'clients deleted, secrets rotated and signing keys revoked since the backup are as they were: do it again for those',
    );
  }
  notes.push('API keys are those of the backup');
  return notes;
}

function names({ count, names }: NamedClients): string {
  const shown = names.slice(0, NAMES_IN_NOTE).join(', ');
  return count > NAMES_IN_NOTE ? `${shown} and ${count - NAMES_IN_NOTE} more` : shown;
}
