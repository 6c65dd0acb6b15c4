import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { type Client, call, get, type Secret, type Session } from '../api.ts';
import { useLive } from '../live.ts';
import { Copyable, Dialog, Empty, Failure, useLoaded, when } from '../parts.tsx';
import { Table } from '../table.tsx';
import { State } from './clients.tsx';
import { ShownOnce } from './shown-once.tsx';

type Asked = 'rotate' | 'quarantine' | 'delete';

/** One client: what it is, its secrets, its last refusals, and what can be done with it. */
export function ClientPage({ id, session }: { id: string; session: Session }) {
  const path = `/v1/clients/${encodeURIComponent(id)}`;
  const client = useLoaded(id, () => get<Client>(path));
  const secrets = useLoaded(id, async () => (await get<{ secrets: Secret[] }>(`${path}/secrets`)).secrets);
  const { refusals } = useLive();
  const [asked, setAsked] = useState<Asked | undefined>();
  const [error, setError] = useState<unknown>();
  const [secret, setSecret] = useState<string | undefined>();
  const one = client.value;
  const again = () => {
    client.again();
    secrets.again();
  };

  async function act(method: string, suffix: string, body?: unknown): Promise<void> {
    setError(undefined);
    try {
      const answer = await call<{ client_secret?: string } | undefined>(method, `${path}${suffix}`, body);
      setAsked(undefined);
      setSecret(answer.body?.client_secret);
      if (method === 'DELETE') location.hash = '#/clients';
      else again();
    } catch (failure) {
      setError(failure);
    }
  }

  if (client.error !== undefined) return <Failure error={client.error} />;
  if (one === undefined) return <p aria-busy="true">Loading {id}</p>;
  const mine = refusals.filter(({ clientId }) => clientId === id).slice(0, 20);
  const mayChange = session.role !== 'auditor';
  return (
    <>
      <p>
        <a href="#/clients">Clients</a>
      </p>
      <h1>
        {one.client_id} <State state={one.state} />
      </h1>
      {mayChange ? (
        <div class="row">
          <button type="button" onClick={() => setAsked('rotate')}>
            New secret
          </button>
          {one.state === 'active' ? (
            <button type="button" class="grave" onClick={() => setAsked('quarantine')}>
              Quarantine
            </button>
          ) : (
            <button type="button" onClick={() => void act('POST', '/release')}>
              Release
            </button>
          )}
          <button type="button" class="grave" onClick={() => setAsked('delete')}>
            Delete
          </button>
        </div>
      ) : null}
      {asked === undefined ? <Failure error={error} /> : null}
      <section class="card" aria-label="Registration">
        <dl>
          <Row name="Name">{one.name}</Row>
          <Row name="Scopes">
            <code>{one.scope}</code>
          </Row>
          <Row name="Audience">{one.audience.join(' ')}</Row>
          <Row name="Group">{one.group}</Row>
          <Row name="Labels">
            {Object.entries(one.labels)
              .map(([name, value]) => `${name}=${value}`)
              .join(' ')}
          </Row>
          <Row name="Authenticates by">{one.auth_method}</Row>
          <Row name="Registered">{when(one.created_at)}</Row>
          <Row name="Changed">{when(one.updated_at)}</Row>
          <Row name="Last token">{one.last_seen_on ?? 'never'}</Row>
          <Row name="Quarantined because">{one.quarantine_reason}</Row>
        </dl>
      </section>
      {session.roles.includes('broker') ? <LiveSessions id={id} /> : null}
      <section class="card" aria-label="Secrets">
        <h2>Secrets</h2>
        <Failure error={secrets.error} />
        <div class="scroll">
          <table>
            <thead>
              <tr>
                {['Secret', 'State', 'Made', 'First used', 'Last used', 'Ends'].map((name) => (
                  <th scope="col" key={name}>
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {(secrets.value ?? []).map((row) => (
                <tr key={row.secret_id}>
                  <td>
                    <code>{row.secret_id}</code>
                  </td>
                  <td>{row.state}</td>
                  <td class="nowrap">{when(row.created_at)}</td>
                  <td class="nowrap">
                    {row.first_used_at === undefined ? 'never' : when(row.first_used_at)}
                  </td>
                  <td class="nowrap">{row.last_used_on ?? ''}</td>
                  <td class="nowrap">{row.expires_at === undefined ? 'no end' : when(row.expires_at)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </section>
      <section class="card" aria-label="Last refusals">
        <h2>Last refusals</h2>
        {mine.length === 0 ? (
          <Empty>None while this page was told.</Empty>
        ) : (
          <ul>
            {mine.map(({ at, action, reason, topic }, index) => (
              <li key={`${at}-${index}`}>
                {when(at)} {action} <code>{reason}</code> <code>{topic ?? ''}</code>
              </li>
            ))}
          </ul>
        )}
        <Copyable text={`fleetgate audit list --client ${one.client_id}`} />
      </section>
      {asked === undefined ? null : (
        <Ask
          asked={asked}
          id={id}
          error={error}
          onClose={() => {
            setAsked(undefined);
            setError(undefined);
          }}
          act={act}
        />
      )}
      {secret === undefined ? null : (
        <Dialog title={`New secret of ${id}`} onClose={() => setSecret(undefined)}>
          <ShownOnce clientId={id} secret={secret} />
        </Dialog>
      )}
    </>
  );
}

function Row({ name, children }: { name: string; children: ComponentChildren }) {
  return children === undefined || children === '' ? null : (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

interface LiveSession {
  readonly id: string;
  readonly expiresAtSeconds: number;
  readonly startedAtMs: number;
  readonly filters: readonly string[];
  readonly isKept: boolean;
  readonly address?: string;
  readonly protocol: string;
}

/** Its connections to the broker of this process, looked at again every few seconds. */
function LiveSessions({ id }: { id: string }) {
  const path = `/sessions/${encodeURIComponent(id)}`;
  const loaded = useLoaded(path, async () => (await get<{ sessions: LiveSession[] }>(path)).sessions);
  const [nowMs, setNowMs] = useState(Date.now());
  const { again } = loaded;
  useEffect(() => {
    const clock = setInterval(() => setNowMs(Date.now()), 1_000);
    const look = setInterval(() => again(), 5_000);
    return () => {
      clearInterval(clock);
      clearInterval(look);
    };
  }, []);
  return (
    <section class="card" aria-label="Sessions">
      <h2>Sessions</h2>
      <Failure error={loaded.error} />
      {loaded.value?.length === 0 ? (
        <Empty>It is not connected.</Empty>
      ) : (
        <Table
          rows={loaded.value ?? []}
          keyOf={(one) => one.id}
          columns={[
            { name: 'MQTT client id', cell: (one) => one.id },
            { name: 'From', cell: ({ address, protocol }) => `${address ?? ''} ${protocol}` },
            { name: 'Since', cell: ({ startedAtMs }) => when(startedAtMs), isShort: true },
            {
              name: 'Token ends in',
              cell: ({ expiresAtSeconds }) => remaining(expiresAtSeconds * 1000 - nowMs),
              isShort: true,
            },
            { name: 'Kept', cell: ({ isKept }) => (isKept ? 'yes' : 'no') },
            { name: 'Subscriptions', cell: ({ filters }) => <code>{filters.join(' ')}</code> },
          ]}
        />
      )}
    </section>
  );
}

function remaining(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  return minutes >= 60
    ? `${Math.floor(minutes / 60)} h ${minutes % 60} min`
    : `${minutes} min ${seconds % 60} s`;
}

/** Before what cannot be taken back, what will happen. */
function Ask({
  asked,
  id,
  error,
  onClose,
  act,
}: {
  asked: Asked;
  id: string;
  error: unknown;
  onClose: () => void;
  act: (method: string, suffix: string, body?: unknown) => Promise<void>;
}) {
  const [text, setText] = useState('');
  if (asked === 'rotate') {
    return (
      <Dialog title={`New secret for ${id}`} onClose={onClose}>
        <p>The old one goes on for seven days, so that the device can be given the new one.</p>
        <Failure error={error} />
        <button type="button" onClick={() => void act('POST', '/secrets', {})}>
          Make it
        </button>
      </Dialog>
    );
  }
  const isDelete = asked === 'delete';
  return (
    <Dialog title={isDelete ? `Delete ${id}` : `Quarantine ${id}`} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (isDelete) void act('DELETE', '');
          else void act('POST', '/quarantine', text === '' ? {} : { reason: text });
        }}
      >
        <p>
          {isDelete
            ? 'Its tokens are revoked, its sessions end at once, and its id is free again.'
            : 'Its tokens are revoked, its sessions end at once, and it gets no new ones until it is released.'}
        </p>
        <label>
          {isDelete ? `Type ${id} to confirm` : 'Reason, for the audit trail'}
          <input
            required={isDelete}
            value={text}
            onInput={({ currentTarget }) => setText(currentTarget.value)}
          />
        </label>
        <Failure error={error} />
        <button type="submit" class="grave" disabled={isDelete && text !== id}>
          {isDelete ? 'Delete' : 'Quarantine'}
        </button>
      </form>
    </Dialog>
  );
}
