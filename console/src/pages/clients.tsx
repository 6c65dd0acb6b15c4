import { useState } from 'preact/hooks';
import { type Client, call, get, type Session } from '../api.ts';
import { Dialog, Empty, Failure, useLoaded, when } from '../parts.tsx';
import { ShownOnce } from './shown-once.tsx';

interface Page {
  readonly clients: readonly Client[];
  readonly next_cursor?: string;
}

const PAGE = 100;

/** All clients, a page at a time, found by a selector as at the command line. */
export function Clients({ session }: { session: Session }) {
  const [selector, setSelector] = useState('');
  const [asked, setAsked] = useState('');
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const [isRegistering, setRegistering] = useState(false);
  const cursor = cursors.at(-1);
  const query = new URLSearchParams({
    limit: String(PAGE),
    ...(asked === '' ? {} : { selector: asked }),
    ...(cursor === undefined ? {} : { cursor }),
  });
  const page = useLoaded(`${query}`, () => get<Page>(`/v1/clients?${query}`));
  const clients = page.value?.clients ?? [];
  if (!session.roles.includes('issuer')) {
    return <Empty>No issuer runs in this process; open the console of the issuer.</Empty>;
  }
  return (
    <>
      <h1>Clients</h1>
      <form
        class="filter"
        onSubmit={(event) => {
          event.preventDefault();
          setCursors([]);
          setAsked(selector.trim());
        }}
      >
        <label>
          Selector, as group=plant-7, client_id=press-* or state=quarantined
          <input
            type="search"
            value={selector}
            spellcheck={false}
            onInput={({ currentTarget }) => setSelector(currentTarget.value)}
          />
        </label>
        <button type="submit">Find</button>
        {session.role === 'auditor' ? null : (
          <button type="button" class="plain" onClick={() => setRegistering(true)}>
            Register a client
          </button>
        )}
      </form>
      <Failure error={page.error} />
      <section class="card" aria-label="Clients" aria-busy={page.isLoading}>
        {clients.length === 0 && !page.isLoading && page.error === undefined ? (
          <Empty command="fleetgate client create --id sensor-1 --scope telemetry.write --out sensor-1.json">
            {asked === '' ? 'No client is registered.' : 'No client matches.'}
          </Empty>
        ) : (
          <div class="scroll">
            <table>
              <thead>
                <tr>
                  <th scope="col">Client</th>
                  <th scope="col">State</th>
                  <th scope="col">Group</th>
                  <th scope="col">Labels</th>
                  <th scope="col">Scope</th>
                  <th scope="col">Registered</th>
                </tr>
              </thead>
              <tbody>
                {clients.map((client) => (
                  <tr key={client.client_id}>
                    <td>
                      <a href={`#/clients/${encodeURIComponent(client.client_id)}`}>{client.client_id}</a>
                      {client.name === undefined ? null : <div class="who">{client.name}</div>}
                    </td>
                    <td>
                      <State state={client.state} />
                    </td>
                    <td>{client.group}</td>
                    <td>
                      {Object.entries(client.labels)
                        .map(([name, value]) => `${name}=${value}`)
                        .join(' ')}
                    </td>
                    <td>
                      <code>{client.scope}</code>
                    </td>
                    <td class="nowrap">{when(client.created_at)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        <p class="more">
          <button
            type="button"
            class="plain"
            disabled={cursors.length === 0}
            onClick={() => setCursors(cursors.slice(0, -1))}
          >
            Previous
          </button>{' '}
          <button
            type="button"
            class="plain"
            disabled={page.value?.next_cursor === undefined}
            onClick={() => setCursors([...cursors, page.value?.next_cursor as string])}
          >
            Next
          </button>
        </p>
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

export function State({ state }: { state: Client['state'] }) {
  return <span class={state === 'active' ? 'state good' : 'state bad'}>{state}</span>;
}

type Created = Client & { readonly client_secret?: string };

function Register({ onClose }: { onClose: () => void }) {
  const [error, setError] = useState<unknown>();
  const [created, setCreated] = useState<Created | undefined>();
  if (created !== undefined) {
    return (
      <Dialog title={`Registered ${created.client_id}`} onClose={onClose}>
        {created.client_secret === undefined ? (
          <p>It has no secret.</p>
        ) : (
          <ShownOnce clientId={created.client_id} secret={created.client_secret} />
        )}
      </Dialog>
    );
  }
  return (
    <Dialog title="Register a client" onClose={onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          const fields = [...new FormData(event.currentTarget)].filter(([, value]) => value !== '');
          try {
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
        <Failure error={error} />
        <button type="submit">Register</button>
      </form>
    </Dialog>
  );
}
