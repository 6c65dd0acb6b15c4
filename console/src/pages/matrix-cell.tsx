import { call } from '../api.ts';
import { type AccessRow, cellWords } from '../matrix.ts';
import { Dialog, Failure, useLoaded } from '../parts.tsx';
import { type Explanation, Trace } from '../trace.tsx';

interface Explained {
  readonly client_id: string;
  /** Undefined: the client has no value for a placeholder. */
  readonly topic?: string;
  readonly actions?: readonly (Explanation & { readonly attempt: { readonly action: string } })[];
}

/** Why a cell is as it is: for each outcome in the cell a client, and the rules that decide for it. */
export function MatrixCell({
  row,
  topic,
  by,
  onClose,
  onClients,
}: {
  row: AccessRow;
  topic: string;
  by: 'client' | 'group';
  onClose: () => void;
  onClients: (group: string) => void;
}) {
  const cell = row.cells.get(topic);
  const ids = [...new Set(Object.values(cell?.examples ?? {}))];
  const { value, error } = useLoaded(`${row.name} ${topic}`, async () => {
    const { body } = await call<{ clients: readonly Explained[] }>('POST', '/matrix/cell', {
      clients: ids,
      topic,
    });
    return body.clients;
  });
  return (
    <Dialog title={`${row.name}: ${topic}`} onClose={onClose}>
      <p>
        {by === 'group' ? `${row.clients} clients: ` : ''}
        {cellWords(cell, row.clients)}
      </p>
      <Failure error={error} />
      {value?.map(({ client_id: id, topic: own, actions }) => (
        <section key={id} aria-label={id}>
          <h3>
            {by === 'group' ? 'For example ' : ''}
            <a href={`#/clients/${encodeURIComponent(id)}`}>{id}</a>
          </h3>
          {own === undefined ? <p>It has no value for a placeholder of this topic.</p> : <code>{own}</code>}
          {actions?.map((one) => (
            <div key={one.attempt.action}>
              <h4>{one.attempt.action}</h4>
              <Trace explanation={one} />
            </div>
          ))}
        </section>
      ))}
      {by === 'group' ? (
        <button type="button" class="plain" onClick={() => onClients(row.name)}>
          A row for each of its clients
        </button>
      ) : null}
    </Dialog>
  );
}
