import { useState } from 'preact/hooks';
import { get, type Session } from '../api.ts';
import { Chart, type Line } from '../chart.tsx';
import { hashOf, noFilters } from '../client-filters.ts';
import { type Figures, rates, useLive } from '../live.ts';
import { Empty, useLoaded } from '../parts.tsx';

interface Tile {
  readonly name: string;
  readonly unit: string;
  readonly lines: (figures: readonly Figures[]) => Line[];
}

const gauge = (figures: readonly Figures[], name: string) => figures.map((one) => one[name] ?? 0);
const line = (label: string, values: readonly number[], color: string, dash?: number[]): Line => ({
  label,
  values,
  color,
  ...(dash === undefined ? {} : { dash }),
});

const tiles: readonly Tile[] = [
  {
    name: 'Connections',
    unit: 'open',
    lines: (all) => [
      line('connections', gauge(all, 'connections'), '--blue'),
      line('sessions', gauge(all, 'sessions'), '--orange', [6, 4]),
    ],
  },
  {
    name: 'CONNECT',
    unit: 'accepted a second',
    lines: (all) => [
      line('accepted', rates(all, 'connects_accepted'), '--green'),
      line('refused', rates(all, 'connects_refused'), '--red', [6, 4]),
    ],
  },
  {
    name: 'Tokens',
    unit: 'issued a second',
    lines: (all) => [
      line('issued', rates(all, 'tokens_issued'), '--blue'),
      line('refused', rates(all, 'tokens_refused'), '--red', [6, 4]),
    ],
  },
  {
    name: 'Publishes',
    unit: 'allowed a second',
    lines: (all) => [
      line('published', rates(all, 'publishes_allowed'), '--blue'),
      line('delivered', rates(all, 'deliveries_allowed'), '--orange', [6, 4]),
    ],
  },
  {
    name: 'Refusals',
    unit: 'a second',
    lines: (all) => [line('refused', rates(all, 'refusals'), '--red')],
  },
];

/** What goes on now, and what wants a hand. */
export function Overview({ session }: { session: Session }) {
  const { figures } = useLive();
  const [open, setOpen] = useState(0);
  const tile = tiles[open] as Tile;
  return (
    <>
      <h1>Overview</h1>
      <Attention session={session} figures={figures.at(-1)} />
      <fieldset class="tiles" aria-label="Charts">
        {tiles.map(({ name, unit, lines }, at) => (
          <button
            type="button"
            class="tile"
            key={name}
            aria-pressed={at === open}
            onClick={() => setOpen(at)}
          >
            <span>{name}</span>
            <b>{Math.round(lines(figures)[0]?.values.at(-1) ?? 0).toLocaleString('en')}</b>
            <span>{unit}</span>
          </button>
        ))}
      </fieldset>
      <section class="card" aria-label={tile.name}>
        <h2>{tile.name}</h2>
        {figures.length < 2 ? (
          <Empty>The first figures come in a second.</Empty>
        ) : (
          <Chart
            key={tile.name}
            label={tile.name}
            times={figures.map(({ at }) => at)}
            lines={tile.lines(figures)}
          />
        )}
      </section>
    </>
  );
}

interface SecretRow {
  readonly client_id: string;
  readonly expires_at?: string;
}

const WEEK_SECONDS = 7 * 86_400;

function Attention({ session, figures }: { session: Session; figures: Figures | undefined }) {
  const expiring = useLoaded('secrets', async () =>
    session.roles.includes('issuer')
      ? (
          await get<{ secrets: SecretRow[] }>(
            `/v1/secrets?state=expiring&within_seconds=${WEEK_SECONDS}&limit=5`,
          )
        ).secrets
      : [],
  );
  const notes: { text: string; link?: { href: string; words: string } }[] = [];
  if ((figures?.['feeds_away'] ?? 0) > 0)
    notes.push({ text: 'The revocations of an issuer do not come in.' });
  if ((figures?.['cluster_away'] ?? 0) > 0)
    notes.push({ text: 'The Redis that the brokers share does not answer.' });
  if ((expiring.value?.length ?? 0) > 0) {
    const names = expiring.value?.map(({ client_id }) => client_id).join(', ');
    const link = {
      href: hashOf({ filters: { ...noFilters, ends: 'expires<7d' }, cursors: [] }),
      words: 'All of them',
    };
    notes.push({ text: `Secrets end within a week: ${names}.`, link });
  }
  return (
    <section class="card" aria-label="Needs attention">
      <h2>Needs attention</h2>
      {notes.length === 0 ? (
        <p class="who">Nothing.</p>
      ) : (
        <ul class="attention">
          {notes.map(({ text, link }) => (
            <li key={text}>
              {text} {link === undefined ? null : <a href={link.href}>{link.words}</a>}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
