import { useEffect, useState } from 'preact/hooks';
import { HeatMap } from '../heat-map.tsx';
import { type Refusal, useLive } from '../live.ts';
import { Empty, when } from '../parts.tsx';
import { findInAddress, fits, refusalsHash } from '../refusal-filter.ts';
import { Table } from '../table.tsx';
import { Why } from '../why.tsx';

/** Refusals that are listed, the latest first. */
const MAX_SHOWN = 200;

/** What was refused, why, and how to see it again at the command line. */
export function Refusals() {
  const { refusals, suppressed } = useLive();
  const [filter, setFilter] = useState(findInAddress);
  const [open, setOpen] = useState<Refusal | undefined>();
  // Of a link that is followed, or of the page before; what is typed here changes the address without a word.
  useEffect(() => {
    const follow = () => setFilter(findInAddress());
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  const shown = refusals.filter((one) => fits(one, filter));
  const counts = new Map<string, number>();
  for (const { reason } of shown) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const most = Math.max(1, ...counts.values());
  return (
    <>
      <h1>Refusals</h1>
      <form class="filter" onSubmit={(event) => event.preventDefault()}>
        <label>
          Reason, client, topic or action
          <input
            type="search"
            value={filter}
            onInput={({ currentTarget: { value } }) => {
              setFilter(value);
              history.replaceState(null, '', refusalsHash(value));
            }}
          />
        </label>
      </form>
      <section class="card" aria-label="By reason">
        <h2>By reason</h2>
        {counts.size === 0 ? (
          <Empty>
            {refusals.length === 0 ? 'Nothing was refused while this page was told.' : 'No refusal matches.'}
          </Empty>
        ) : (
          <div class="bars">
            {[...counts]
              .sort(([, one], [, other]) => other - one)
              .map(([reason, count]) => (
                <>
                  <a href={refusalsHash(reason)}>
                    <code>{reason}</code>
                  </a>
                  <meter min={0} max={most} value={count} aria-label={`${reason}: ${count}`} />
                  <span>{count}</span>
                </>
              ))}
          </div>
        )}
        {suppressed > 0 ? <p class="who">{suppressed} more came too fast to be told one by one.</p> : null}
      </section>
      <ByTopic refusals={shown} />
      <section class="card" aria-label="Latest">
        <h2>Latest</h2>
        <Table
          rows={shown.slice(0, MAX_SHOWN)}
          keyOf={({ at }, row) => `${at}-${row}`}
          columns={[
            { name: 'When', cell: ({ at }) => when(at), isShort: true },
            { name: 'Action', cell: ({ action }) => action },
            { name: 'Reason', cell: ({ reason }) => <code>{reason}</code> },
            { name: 'Client', cell: (one) => <Who refusal={one} /> },
            { name: 'Topic', cell: ({ topic = '' }) => <code>{topic}</code> },
            {
              name: 'Detail',
              cell: (one) => (
                <button type="button" class="plain" onClick={() => setOpen(one)}>
                  Why
                </button>
              ),
            },
          ]}
        />
      </section>
      {open === undefined ? null : <Why refusal={open} onClose={() => setOpen(undefined)} />}
    </>
  );
}

/** A link only to who has proved to be it. */
function Who({ refusal: { clientId, presentedClientId } }: { refusal: Refusal }) {
  if (clientId !== undefined) return <a href={`#/clients/${encodeURIComponent(clientId)}`}>{clientId}</a>;
  return presentedClientId === undefined ? null : <span class="who">says it is {presentedClientId}</span>;
}

/** Topics of a pattern in one row; of many the most frequent. */
const MAX_PATTERNS = 10;

/** Reasons by what the topics have in common. */
function ByTopic({ refusals }: { refusals: readonly Refusal[] }) {
  const counts = new Map<string, number>();
  const totals = new Map<string, number>();
  const reasons = new Set<string>();
  for (const { reason, topic, clientId } of refusals) {
    if (topic === undefined) continue;
    const pattern = patternOf(topic, clientId);
    reasons.add(reason);
    totals.set(pattern, (totals.get(pattern) ?? 0) + 1);
    counts.set(`${reason} ${pattern}`, (counts.get(`${reason} ${pattern}`) ?? 0) + 1);
  }
  if (totals.size === 0) return null;
  const patterns = [...totals]
    .sort(([, one], [, other]) => other - one)
    .slice(0, MAX_PATTERNS)
    .map(([pattern]) => pattern);
  return (
    <section class="card" aria-label="By topic">
      <h2>By topic</h2>
      <HeatMap
        label={`Refusals by reason and topic: ${[...counts].map(([name, count]) => `${name} ${count}`).join(', ')}`}
        rows={patterns}
        columns={[...reasons].sort()}
        count={(pattern, reason) => counts.get(`${reason} ${pattern}`) ?? 0}
      />
    </section>
  );
}

const MAX_LEVELS = 4;

/** A topic with its client and its numbers (`N`) taken out, so that those of one kind are one. */
function patternOf(topic: string, clientId: string | undefined): string {
  const levels = topic.split('/');
  const named = levels
    .slice(0, MAX_LEVELS)
    .map((level) => (level === clientId ? '{client_id}' : level.replace(/\d+/g, 'N')));
  return levels.length > MAX_LEVELS ? `${named.join('/')}/…` : named.join('/');
}
