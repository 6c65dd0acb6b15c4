import type { ComponentChildren } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { type Client, call, get, type Session } from '../api.ts';
import { hashOf, type ListState, readListState, selectorOf } from '../client-filters.ts';
import { Dialog, Empty, Failure, useLoaded, when } from '../parts.tsx';
import { ScopeNotes, useScopeNotes } from '../scope-notes.tsx';
import { type Column, Pager, Table } from '../table.tsx';
import { ClientFilterForm } from './client-filter-form.tsx';
import { ShownOnce } from './shown-once.tsx';

interface Page {
  readonly clients: readonly Client[];
  readonly next_cursor?: string;
}

const PAGE = 100;

/** For so long a page of a rare combination is looked for; then what there is is shown, and Next goes on. */
const MAX_LOOK_MS = 10_000;

/** All clients that fit what the address asks for, a page at a time. */
export function Clients({ session, query }: { session: Session; query: string }) {
  const { filters, cursors } = useMemo(() => readListState(query), [query]);
  const [isRegistering, setRegistering] = useState(false);
  const selector = selectorOf(filters);
  const cursor = cursors.at(-1);
  const page = useLoaded(`${selector} ${cursor}`, (signal) => load(selector, cursor, signal));
  const clients = page.value?.clients ?? [];
  if (!session.roles.includes('issuer')) {
    return <Empty>No issuer runs in this process; open the console of the issuer.</Empty>;
  }
  const go = (to: ListState) => {
    const hash = hashOf(to);
    if (hash === location.hash) page.again();
    else location.hash = hash;
  };
  return (
    <>
      <h1>Clients</h1>
      <ClientFilterForm filters={filters} onFind={(found) => go({ filters: found, cursors: [] })}>
        {session.role === 'auditor' ? null : (
          <button type="button" class="plain" onClick={() => setRegistering(true)}>
            Register a client
          </button>
        )}
      </ClientFilterForm>
      <Failure error={page.error} />
      <section class="card" aria-label="Clients" aria-busy={page.isLoading}>
        {clients.length === 0 && !page.isLoading && page.error === undefined ? (
          <Nobody selector={selector} isEnd={page.value?.next_cursor === undefined} />
        ) : (
          <Table columns={columns} rows={clients} keyOf={({ client_id: id }) => id} />
        )}
        <Pager
          cursors={cursors}
          next={page.isLoading ? undefined : page.value?.next_cursor}
          onChange={(reached) => go({ filters, cursors: reached })}
        />
      </section>
      {isRegistering ? (
        <Register
          onClose={() => {
            setRegistering(false);
            page.again();
          }}
        />
      ) : null}
    </>
  );
}

/** A page: the server looks through a bounded part for each request, and may find fewer than there is room for. */
async function load(selector: string, cursor: string | undefined, signal: AbortSignal): Promise<Page> {
  const endMs = performance.now() + MAX_LOOK_MS;
  const clients: Client[] = [];
  let next = cursor;
  do {
    const query = new URLSearchParams({
      limit: String(PAGE - clients.length),
      ...(selector === '' ? {} : { selector }),
      ...(next === undefined ? {} : { cursor: next }),
    });
    const part = await get<Page>(`/v1/clients?${query}`);
    clients.push(...part.clients);
    next = part.next_cursor;
  } while (next !== undefined && clients.length < PAGE && performance.now() < endMs && !signal.aborted);
  return { clients, ...(next === undefined ? {} : { next_cursor: next }) };
}

function Nobody({ selector, isEnd }: { selector: string; isEnd: boolean }) {
  if (selector === '') {
    return (
      <Empty command="fleetgate client create --id sensor-1 --scope telemetry.write --out sensor-1.json">
        No client is registered.
      </Empty>
    );
  }
  return (
    <Empty command={`fleetgate client list --selector '${selector.replaceAll("'", "'\\''")}'`}>
      {isEnd ? 'No client matches.' : 'No client matches so far; Next looks on. A command looks to the end:'}
    </Empty>
  );
}

const columns: readonly Column<Client>[] = [
  {
    name: 'Client',
    cell: (client) => (
      <>
        <a href={`#/clients/${encodeURIComponent(client.client_id)}`}>{client.client_id}</a>
        {client.name === undefined ? null : <div class="who">{client.name}</div>}
      </>
    ),
  },
  { name: 'State', cell: ({ state }) => <State state={state} /> },
  { name: 'Group', cell: ({ group }) => group },
  {
    name: 'Labels',
    cell: ({ labels }) =>
      Object.entries(labels)
        .map(([name, value]) => `${name}=${value}`)
        .join(' '),
  },
  { name: 'Scope', cell: ({ scope }) => <code>{scope}</code> },
  { name: 'Last token', cell: ({ last_seen_on: day }) => day ?? 'never', isShort: true },
  { name: 'Secret ends', cell: ({ secret_expires_at: end }) => endOf(end), isShort: true },
  { name: 'Registered', cell: ({ created_at: at }) => when(at), isShort: true },
];

function endOf(at: string | undefined): ComponentChildren {
  if (at === undefined || Date.parse(at) > Date.now()) return when(at);
  return <span class="state bad">ended {when(at)}</span>;
}

export function State({ state }: { state: Client['state'] }) {
  return <span class={state === 'active' ? 'state good' : 'state bad'}>{state}</span>;
}

type Created = Client & { readonly client_secret?: string };

function Register({ onClose }: { onClose: () => void }) {
  const [error, setError] = useState<unknown>();
  const { notes, tell } = useScopeNotes();
  const [created, setCreated] = useState<Created | undefined>();
  if (created !== undefined) {
    const { client_id: id, client_secret: secret } = created;
    const title = `Registered ${id}`;
    if (secret !== undefined)
      return <ShownOnce title={title} clientId={id} secret={secret} onClose={onClose} />;
    return (
      <Dialog title={title} onClose={onClose}>
        <p>It has no secret.</p>
      </Dialog>
    );
  }
  return (
    <Dialog title="Register a client" onClose={onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          const given = new FormData(event.currentTarget);
          const fields = [...given].filter(([, value]) => value !== '');
          try {
            if (await tell({ scope: `${given.get('scope') ?? ''}`.trim() })) return;
            const { body } = await call<Created>('POST', '/v1/clients', Object.fromEntries(fields));
            setCreated(body);
          } catch (failure) {
            setError(failure);
          }
        }}
      >
        <label>
          Client id
          <input name="client_id" required pattern="[A-Za-z0-9._\-]{1,64}" spellcheck={false} />
        </label>
        <label>
          Name, for people
          <input name="name" />
        </label>
        <label>
          Scopes, separated by spaces
          <input name="scope" spellcheck={false} />
        </label>
        <label>
          Group
          <input name="group" spellcheck={false} />
        </label>
        <ScopeNotes notes={notes} />
        <Failure error={error} />
        <button type="submit">{notes.length === 0 ? 'Register' : 'Register all the same'}</button>
      </form>
    </Dialog>
  );
}
