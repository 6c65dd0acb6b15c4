import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { type Client, call, get, type Secret, type Session, watching } from '../api.ts';
import { auditHash } from '../audit-filter.ts';
import { type Refusal, useLive } from '../live.ts';
import { Copyable, Empty, Failure, useLoaded, when } from '../parts.tsx';
import { isOf, ofClient, refusalsHash } from '../refusal-filter.ts';
import { Table } from '../table.tsx';
import { Why } from '../why.tsx';
import { Ask, type Asked } from './client-acts.tsx';
import { ClientSecrets } from './client-secrets.tsx';
import { State } from './clients.tsx';
import { ShownOnce } from './shown-once.tsx';

/** One client: what it is, its secrets, its last refusals, and what can be done with it. */
export function ClientPage({ id, session }: { id: string; session: Session }) {
  const path = `/v1/clients/${encodeURIComponent(id)}`;
  const client = useLoaded(id, () => get<Client>(path));
  const secrets = useLoaded(id, async () => (await get<{ secrets: Secret[] }>(`${path}/secrets`)).secrets);
  const { refusals } = useLive();
  const [asked, setAsked] = useState<Asked | undefined>();
  const [error, setError] = useState<unknown>();
  const [secret, setSecret] = useState<string | undefined>();
  const [refusal, setRefusal] = useState<Refusal | undefined>();
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
      if (method === 'DELETE' && suffix === '') location.hash = '#/clients';
      else again();
    } catch (failure) {
      setError(failure);
    }
  }

  if (client.error !== undefined) return <Failure error={client.error} />;
  if (one === undefined) return <p aria-busy="true">Loading {id}</p>;
  const mine = refusals.filter((one) => isOf(one, id)).slice(0, 20);
  const live = (secrets.value ?? []).filter(({ state }) => state === 'live');
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
          <button type="button" onClick={() => setAsked({ act: 'rotate' })}>
            New secret
          </button>
          {one.state === 'active' ? (
            <button type="button" class="grave" onClick={() => setAsked({ act: 'quarantine' })}>
              Quarantine
            </button>
          ) : (
            <button type="button" onClick={() => setAsked({ act: 'release' })}>
              Release
            </button>
          )}
          <button type="button" class="grave" onClick={() => setAsked({ act: 'delete' })}>
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
      <ClientSecrets
        secrets={secrets.value ?? []}
        error={secrets.error}
        onEnd={
          mayChange
            ? ({ secret_id: secretId }) => setAsked({ act: 'end', secretId, isLast: live.length === 1 })
            : undefined
        }
      />
      <section class="card" aria-label="Last refusals">
        <h2>Last refusals</h2>
        {mine.length === 0 ? (
          <Empty>None while this page was told.</Empty>
        ) : (
          <>
            <p>
              <a href={refusalsHash(ofClient(id))}>All on the Refusals page</a>
            </p>
            <Table
              rows={mine}
              keyOf={({ at }, row) => `${at}-${row}`}
              columns={[
                { name: 'When', cell: ({ at }) => when(at), isShort: true },
                {
                  name: 'Action',
                  cell: ({ action, clientId }) => (
                    <>
                      {action} {clientId === undefined ? <span class="who">says it is {id}</span> : null}
                    </>
                  ),
                },
                { name: 'Reason', cell: ({ reason }) => <code>{reason}</code> },
                { name: 'Topic', cell: ({ topic = '' }) => <code>{topic}</code> },
                {
                  name: 'Detail',
                  cell: (refusal) => (
                    <button type="button" class="plain" onClick={() => setRefusal(refusal)}>
                      Why
                    </button>
                  ),
                },
              ]}
            />
          </>
        )}
        <h3>What the issuer did for it</h3>
        <p>
          <a href={auditHash({ filter: { target: id }, cursors: [] })}>
            What was done to it, on the Audit page
          </a>
        </p>
        <Copyable text={`fleetgate audit list --client ${one.client_id}`} />
      </section>
      {asked === undefined ? null : (
        <Ask
          asked={asked}
          client={one}
          error={error}
          onClose={() => {
            setAsked(undefined);
            setError(undefined);
          }}
          act={act}
        />
      )}
      {refusal === undefined ? null : <Why refusal={refusal} onClose={() => setRefusal(undefined)} />}
      {secret === undefined ? null : (
        <ShownOnce
          title={`New secret of ${id}`}
          clientId={id}
          secret={secret}
          onClose={() => setSecret(undefined)}
        />
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
  const loaded = useLoaded(
    path,
    async () => (await call<{ sessions: LiveSession[] }>('GET', path, undefined, watching)).body.sessions,
  );
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
