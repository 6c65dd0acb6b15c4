import { useState } from 'preact/hooks';
import { call, get, type Session } from '../api.ts';
import { Dialog, Empty, Failure, useLoaded, when } from '../parts.tsx';
import { Table } from '../table.tsx';

interface SigningKey {
  readonly kid: string;
  readonly algorithm: string;
  readonly state: 'next' | 'active' | 'retired';
  readonly created_at: string;
  readonly activates_at?: string;
  readonly activated_at?: string;
  readonly retired_at?: string;
  readonly published_until?: string;
}

interface ExpiringSecret {
  readonly client_id: string;
  readonly secret_id: string;
  readonly expires_at: string;
}

interface Campaign {
  readonly campaign_id: string;
  readonly state: string;
  readonly selector: string;
  readonly selected: number;
  readonly confirmed: number;
  readonly failed: number;
  readonly updated_at: string;
}

const DAY_MS = 86_400_000;
const HORIZON_DAYS = 90;

/** Ends of secrets by when they come; each holds those before it, as the filter of Clients does. */
const bounds = [
  { name: 'within a day', days: 1 },
  { name: 'within a week', days: 7 },
  { name: 'within 30 days', days: 30 },
  { name: `within ${HORIZON_DAYS} days`, days: HORIZON_DAYS },
] as const;

/** Pages of secrets that are counted; beyond them the page says so. */
const MAX_PAGES = 20;

/** The keys that sign, the secrets that end, and the campaigns that replace them. */
export function Keys({ session }: { session: Session }) {
  const keys = useLoaded('keys', async () => (await get<{ keys: SigningKey[] }>('/v1/keys')).keys);
  const ending = useLoaded('ending', loadEnding);
  const campaigns = useLoaded(
    'campaigns',
    async () => (await get<{ campaigns: Campaign[] }>('/v1/campaigns?limit=20')).campaigns,
  );
  const [isAsked, setAsked] = useState(false);
  const [problem, setProblem] = useState<unknown>();

  async function steer(id: string, verb: 'pause' | 'resume' | 'cancel'): Promise<void> {
    setProblem(undefined);
    try {
      const reason = verb === 'pause' ? { reason: 'paused in the console' } : undefined;
      await call('POST', `/v1/campaigns/${encodeURIComponent(id)}/${verb}`, reason);
      campaigns.again();
    } catch (failure) {
      setProblem(failure);
    }
  }

  const [error, setError] = useState<unknown>();
  return (
    <>
      <h1>Credentials and keys</h1>
      <section class="card" aria-label="Signing keys">
        <h2>Signing keys</h2>
        {session.role === 'admin' ? (
          <div class="row">
            <button type="button" onClick={() => setAsked(true)}>
              Rotate
            </button>
          </div>
        ) : null}
        <Failure error={keys.error} />
        <Table
          rows={keys.value ?? []}
          keyOf={({ kid }) => kid}
          columns={[
            { name: 'Key', cell: ({ kid }) => <code>{kid}</code> },
            { name: 'Algorithm', cell: ({ algorithm }) => algorithm },
            {
              name: 'State',
              cell: ({ state }) => <span class={state === 'active' ? 'state good' : 'state'}>{state}</span>,
            },
            { name: 'Made', cell: ({ created_at: at }) => when(at), isShort: true },
            { name: 'Signs from', cell: (key) => when(key.activated_at ?? key.activates_at), isShort: true },
            { name: 'Signs until', cell: ({ retired_at: at }) => when(at), isShort: true },
            { name: 'Published until', cell: ({ published_until: at }) => when(at), isShort: true },
          ]}
        />
      </section>
      <section class="card" aria-label="Secrets that end">
        <h2>Secrets that end</h2>
        <Failure error={ending.error} />
        {ending.value === undefined ? null : <Ending {...ending.value} />}
      </section>
      <section class="card" aria-label="Rotation campaigns">
        <h2>Rotation campaigns</h2>
        <Failure error={campaigns.error ?? problem} />
        {campaigns.value?.length === 0 ? (
          <Empty command="fleetgate campaign start --selector group=plant-7 --dir credentials">
            No campaign has been started.
          </Empty>
        ) : (
          <Table
            rows={campaigns.value ?? []}
            keyOf={({ campaign_id: id }) => id}
            columns={[
              { name: 'Campaign', cell: ({ campaign_id: id }) => <code>{id}</code> },
              { name: 'Selector', cell: ({ selector }) => <code>{selector}</code> },
              { name: 'State', cell: ({ state }) => <span class="state">{state}</span> },
              {
                name: 'Progress',
                cell: ({ confirmed, failed, selected }) => (
                  <>
                    <progress
                      max={Math.max(1, selected)}
                      value={confirmed}
                      aria-label={`${confirmed} of ${selected}`}
                    />{' '}
                    {confirmed} of {selected}
                    {failed > 0 ? <span class="bad">, {failed} failed</span> : null}
                  </>
                ),
              },
              { name: 'Changed', cell: ({ updated_at: at }) => when(at), isShort: true },
              {
                name: 'Steer',
                cell: ({ campaign_id: id, state }) =>
                  session.role === 'auditor' || state === 'done' || state === 'cancelled' ? (
                    ''
                  ) : (
                    <>
                      <button
                        type="button"
                        class="plain"
                        onClick={() => void steer(id, state === 'running' ? 'pause' : 'resume')}
                      >
                        {state === 'running' ? 'Pause' : 'Resume'}
                      </button>{' '}
                      <button type="button" class="grave" onClick={() => void steer(id, 'cancel')}>
                        Cancel
                      </button>
                    </>
                  ),
              },
            ]}
          />
        )}
      </section>
      {isAsked ? (
        <Dialog title="Rotate the signing key" onClose={() => setAsked(false)}>
          <p>The next key signs as soon as every verifier can have it. Tokens of the old one stay good.</p>
          <Failure error={error} />
          <button
            type="button"
            onClick={async () => {
              setError(undefined);
              try {
                await call('POST', '/v1/keys/rotate', {});
                setAsked(false);
                keys.again();
              } catch (failure) {
                setError(failure);
              }
            }}
          >
            Rotate
          </button>
        </Dialog>
      ) : null}
    </>
  );
}

async function loadEnding() {
  const secrets: ExpiringSecret[] = [];
  let cursor: string | undefined;
  let pages = 0;
  do {
    const query = new URLSearchParams({
      state: 'expiring',
      within_seconds: String((HORIZON_DAYS * DAY_MS) / 1000),
      limit: '500',
      ...(cursor === undefined ? {} : { cursor }),
    });
    const page = await get<{ secrets: ExpiringSecret[]; next_cursor?: string }>(`/v1/secrets?${query}`);
    secrets.push(...page.secrets);
    cursor = page.next_cursor;
    pages += 1;
  } while (cursor !== undefined && pages < MAX_PAGES);
  return { secrets, isComplete: cursor === undefined };
}

function Ending({ secrets, isComplete }: { secrets: readonly ExpiringSecret[]; isComplete: boolean }) {
  if (secrets.length === 0) return <Empty>None within {HORIZON_DAYS} days.</Empty>;
  const nowMs = Date.now();
  const counts = bounds.map(({ name, days }) => ({
    name,
    count: secrets.filter(({ expires_at: end }) => Date.parse(end) < nowMs + days * DAY_MS).length,
  }));
  const most = Math.max(1, ...counts.map(({ count }) => count));
  return (
    <>
      <div class="bars">
        {counts.map(({ name, count }) => (
          <>
            <span>{name}</span>
            <meter min={0} max={most} value={count} aria-label={`${name}: ${count}`} />
            <span>{count}</span>
          </>
        ))}
      </div>
      {isComplete ? null : <p class="who">Those of the first {secrets.length} that end.</p>}
      <Table
        rows={secrets.slice(0, 20)}
        keyOf={({ secret_id: id }) => id}
        columns={[
          {
            name: 'Client',
            cell: ({ client_id: id }) => <a href={`#/clients/${encodeURIComponent(id)}`}>{id}</a>,
          },
          { name: 'Secret', cell: ({ secret_id: id }) => <code>{id}</code> },
          { name: 'Ends', cell: ({ expires_at: at }) => when(at), isShort: true },
        ]}
      />
    </>
  );
}
