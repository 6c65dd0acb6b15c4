import { Fragment } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { get } from '../api.ts';
import { type AuditEvent, differenceOf } from '../audit-event.ts';
import { type AuditState, auditHash, fields, readAuditState } from '../audit-filter.ts';
import { Dialog, Empty, Failure, useLoaded, when } from '../parts.tsx';
import { Pager, Table } from '../table.tsx';
import { AuditChain } from './audit-chain.tsx';
import { ClientVersions } from './client-versions.tsx';
import { DifferenceTable } from './difference-table.tsx';

interface Page {
  readonly events: readonly AuditEvent[];
  readonly next_cursor?: string;
}

/** Who did what, and what was refused, of what the address asks for; the newest first. */
export function Audit({ query: asked }: { query: string }) {
  const { filter, cursors, problem } = useMemo(() => readAuditState(asked), [asked]);
  const [open, setOpen] = useState<AuditEvent | undefined>();
  const cursor = cursors.at(-1);
  const query = new URLSearchParams({
    limit: '50',
    order: 'newest',
    ...filter,
    ...(cursor === undefined ? {} : { cursor }),
  });
  const page = useLoaded(`${query}`, () => get<Page>(`/v1/audit?${query}`));
  const events = page.value?.events ?? [];
  const [error, setError] = useState<unknown>();
  const { target } = filter;
  const go = (to: AuditState) => {
    const hash = auditHash(to);
    if (hash === location.hash) page.again();
    else location.hash = hash;
  };

  async function show(sequence: number): Promise<void> {
    setError(undefined);
    try {
      const found = await get<Page>(`/v1/audit?limit=1&cursor=${sequence - 1}`);
      setOpen(found.events[0]);
    } catch (failure) {
      setError(failure);
    }
  }

  return (
    <>
      <h1>Audit</h1>
      <form
        class="filter"
        key={auditHash({ filter, cursors: [] })}
        onSubmit={(event) => {
          event.preventDefault();
          const given = [...new FormData(event.currentTarget)] as [string, string][];
          go(readAuditState(`${new URLSearchParams(given)}`));
        }}
      >
        {fields.map(({ name, label }) => (
          <label key={name}>
            {label}
            <input name={name} defaultValue={filter[name] ?? ''} spellcheck={false} />
          </label>
        ))}
        <button type="submit">Find</button>
      </form>
      <Failure error={problem ?? page.error ?? error} />
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
        <Pager
          cursors={cursors}
          next={page.value?.next_cursor}
          onChange={(reached) => go({ filter, cursors: reached })}
        />
      </section>
      <ClientVersions clientId={target} />
      <AuditChain filter={`${new URLSearchParams(filter)}`} onShow={(sequence) => void show(sequence)} />
      {open === undefined ? null : <EventDialog event={open} onClose={() => setOpen(undefined)} />}
    </>
  );
}

function EventDialog({ event, onClose }: { event: AuditEvent; onClose: () => void }) {
  const { changes, ...fields } = event;
  return (
    <Dialog title={`Event ${event.sequence}`} onClose={onClose}>
      {changes === undefined ? null : <DifferenceTable rows={differenceOf([changes])} />}
      <dl>
        {Object.entries(fields).map(([name, value]) => (
          <Fragment key={name}>
            <dt>{name}</dt>
            <dd>{String(value)}</dd>
          </Fragment>
        ))}
      </dl>
    </Dialog>
  );
}
