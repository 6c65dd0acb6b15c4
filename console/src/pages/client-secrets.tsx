import type { Secret } from '../api.ts';
import { Failure, when } from '../parts.tsx';
import { type Column, Table } from '../table.tsx';

/** The secrets of a client. */
export function ClientSecrets({
  secrets,
  error,
  onEnd,
}: {
  secrets: readonly Secret[];
  error: unknown;
  /** Ends one; undefined for who may not. */
  onEnd: ((secret: Secret) => void) | undefined;
}) {
  const columns: Column<Secret>[] = [
    { name: 'Secret', cell: ({ secret_id: id }) => <code>{id}</code> },
    { name: 'State', cell: ({ state }) => state },
    { name: 'Made', cell: ({ created_at: at }) => when(at), isShort: true },
    { name: 'First used', cell: ({ first_used_at: at }) => when(at) || 'never', isShort: true },
    { name: 'Last used', cell: ({ last_used_on: on }) => on ?? '', isShort: true },
    { name: 'Ends', cell: endOf, isShort: true },
  ];
  if (onEnd !== undefined) {
    columns.push({
      name: 'End it',
      cell: (secret) =>
        secret.state === 'live' ? (
          <button type="button" class="grave" onClick={() => onEnd(secret)}>
            End
          </button>
        ) : (
          ''
        ),
    });
  }
  return (
    <section class="card" aria-label="Secrets">
      <h2>Secrets</h2>
      <Failure error={error} />
      <Table rows={secrets} keyOf={({ secret_id: id }) => id} columns={columns} />
    </section>
  );
}

function endOf({ expires_at: at, until_new_is_used: isWaiting }: Secret): string {
  const end = at === undefined ? undefined : when(at);
  if (isWaiting === true)
    return ['when the new one is used', ...(end === undefined ? [] : [end])].join(', or ');
  return end ?? 'no end';
}
