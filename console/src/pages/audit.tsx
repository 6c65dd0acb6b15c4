import { useState } from 'preact/hooks';
import { get } from '../api.ts';
import { Copyable, Dialog, Empty, Failure, useLoaded, when } from '../parts.tsx';
import { Pager, Table } from '../table.tsx';

interface Event {
  readonly sequence: number;
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly target?: string;
  readonly result: string;
  readonly address?: string;
  readonly [field: string]: unknown;
}

interface Page {
  readonly events: readonly Event[];
  readonly next_cursor?: string;
}

const fields = [
  { name: 'actor', label: 'Actor, as admin:NAME or client:ID' },
  { name: 'action', label: 'Action, as client.create' },
  { name: 'target', label: 'Target' },
  { name: 'result', label: 'Result: ok, or a code' },
] as const;

/** Who did what, and what was refused; the newest first. */
export function Audit() {
  const [filter, setFilter] = useState<Record<string, string>>({});
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const [open, setOpen] = useState<Event | undefined>();
  const cursor = cursors.at(-1);
  const query = new URLSearchParams({
    limit: '50',
    order: 'newest',
    ...filter,
    ...(cursor === undefined ? {} : { cursor }),
  });
  const page = useLoaded(`${query}`, () => get<Page>(`/v1/audit?${query}`));
  const events = page.value?.events ?? [];
  return (
    <>
      <h1>Audit</h1>
      <form
        class="filter"
        onSubmit={(event) => {
          event.preventDefault();
          const given = [...new FormData(event.currentTarget)].filter(([, value]) => value !== '');
          setCursors([]);
          setFilter(Object.fromEntries(given) as Record<string, string>);
        }}
      >
        {fields.map(({ name, label }) => (
          <label key={name}>
            {label}
            <input name={name} spellcheck={false} />
          </label>
        ))}
        <button type="submit">Find</button>
      </form>
      <Failure error={page.error} />
      <section class="card" aria-label="Events" aria-busy={page.isLoading}>
        {events.length === 0 && !page.isLoading && page.error === undefined ? (
          <Empty>
            {page.value?.next_cursor === undefined ? 'No event matches.' : 'None on this page; go on.'}
          </Empty>
        ) : (
          <Table
            rows={events}
            keyOf={({ sequence }) => sequence}
            columns={[
              { name: 'When', cell: ({ at }) => when(at), isShort: true },
              { name: 'Actor', cell: ({ actor }) => actor },
              { name: 'Action', cell: ({ action }) => <code>{action}</code> },
              { name: 'Target', cell: ({ target }) => target },
              {
                name: 'Result',
                cell: ({ result }) => (
                  <span class={result === 'ok' ? 'state good' : 'state bad'}>{result}</span>
                ),
              },
              {
                name: 'Event',
                cell: (event) => (
                  <button type="button" class="plain" onClick={() => setOpen(event)}>
                    {event.sequence}
                  </button>
                ),
              },
            ]}
          />
        )}
        <Pager cursors={cursors} next={page.value?.next_cursor} onChange={setCursors} />
      </section>
      <section class="card" aria-label="The chain">
        <h2>The chain</h2>
        <p>Each event holds the hash of the one before. Whether all are there and none was changed:</p>
        <Copyable text="fleetgate audit verify" />
        <p>All of it, for elsewhere:</p>
        <Copyable text="fleetgate audit export --out audit.jsonl" />
      </section>
      {open === undefined ? null : (
        <Dialog title={`Event ${open.sequence}`} onClose={() => setOpen(undefined)}>
          <dl>
            {Object.entries(open).map(([name, value]) => (
              <>
                <dt>{name}</dt>
                <dd>{String(value)}</dd>
              </>
            ))}
          </dl>
        </Dialog>
      )}
    </>
  );
}
