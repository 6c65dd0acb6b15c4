import { useState } from 'preact/hooks';
import { get } from '../api.ts';
import { type AuditEvent, differenceOf } from '../audit-event.ts';
import { Empty, Failure, when } from '../parts.tsx';
import { DifferenceTable } from './difference-table.tsx';

const actions = ['client.create', 'client.update', 'client.delete'] as const;

/** Pages that are asked for of each action: each looks at 20,000 rows. */
const MAX_PAGES = 25;

interface History {
  readonly clientId: string;
  /** The oldest first. */
  readonly events: readonly AuditEvent[];
  /** Whether older rows were not looked at. */
  readonly isCut: boolean;
}

async function historyOf(clientId: string): Promise<History> {
  let isCut = false;
  const found = await Promise.all(
    actions.map(async (action) => {
      const events: AuditEvent[] = [];
      let cursor: string | undefined;
      for (let pages = 0; pages < MAX_PAGES; pages += 1) {
        const query = { target: clientId, action, result: 'ok', order: 'newest', limit: '100' };
        const page = await get<{ events: AuditEvent[]; next_cursor?: string }>(
          `/v1/audit?${new URLSearchParams(cursor === undefined ? query : { ...query, cursor })}`,
        );
        events.push(...page.events);
        cursor = page.next_cursor;
        if (cursor === undefined) break;
      }
      isCut ||= cursor !== undefined;
      return events;
    }),
  );
  return { clientId, events: found.flat().sort((one, other) => one.sequence - other.sequence), isCut };
}

/** The difference of any two versions of a client, as far as the trail says what changed. */
export function ClientVersions({ clientId }: { clientId: string | undefined }) {
  const [history, setHistory] = useState<History | undefined>();
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);

  async function find(id: string): Promise<void> {
    setBusy(true);
    setError(undefined);
    setHistory(undefined);
    try {
      setHistory(await historyOf(id));
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  }

  return (
    <section class="card" aria-label="Versions of a client" aria-busy={isBusy}>
      <h2>Versions of a client</h2>
      <form
        class="filter"
        onSubmit={(event) => {
          event.preventDefault();
          void find(`${new FormData(event.currentTarget).get('client')}`);
        }}
      >
        <label>
          Client
          <input name="client" required spellcheck={false} defaultValue={clientId} key={clientId} />
        </label>
        <button type="submit" disabled={isBusy}>
          Compare
        </button>
      </form>
      <Failure error={error} />
      {history === undefined ? null : <Compared history={history} key={history.clientId} />}
    </section>
  );
}

function Compared({ history: { clientId, events, isCut } }: { history: History }) {
  const [from, setFrom] = useState(0);
  const [to, setTo] = useState(Math.max(0, events.length - 1));
  const cut = isCut ? <p class="who">Older rows of a long trail were not looked at.</p> : null;
  if (events.length === 0) {
    return (
      <>
        <Empty>The trail has no act on {clientId}.</Empty>
        {cut}
      </>
    );
  }
  const [low, high] = from <= to ? [from, to] : [to, from];
  const between = events.slice(low + 1, high + 1);
  const rows = differenceOf(between.map(({ changes = [] }) => changes));
  const silent = between.filter(({ action, changes }) => action === 'client.update' && changes === undefined);
  const isAnew = between.some(({ action }) => action === 'client.create');
  const versions = [
    { name: 'From', value: from, set: setFrom },
    { name: 'To', value: to, set: setTo },
  ];
  return (
    <>
      <div class="row">
        {versions.map(({ name, value, set }) => (
          <label key={name}>
            {name}
            <select value={value} onChange={({ currentTarget }) => set(Number(currentTarget.value))}>
              {events.map(({ sequence, at, action, actor }, i) => (
                <option key={sequence} value={i}>
                  {when(at)} {action} by {actor} (row {sequence})
                </option>
              ))}
            </select>
          </label>
        ))}
      </div>
      {rows.length === 0 ? <Empty>Nothing is known to differ.</Empty> : <DifferenceTable rows={rows} />}
      {silent.length === 0 ? null : (
        <p class="who">
          Of row {silent.map(({ sequence }) => sequence).join(', ')} it is not kept what changed: it changed
          nothing, is from before that was kept, or a device that enrolled anew replaced the client.
        </p>
      )}
      {isAnew ? <p class="who">The client was deleted and registered anew in between.</p> : null}
      {cut}
    </>
  );
}
