import { useState } from 'preact/hooks';
import type { Session } from '../api.ts';
import { Chart, type Line } from '../chart.tsx';
import { type Figures, rates, useLive } from '../live.ts';
import { Empty } from '../parts.tsx';
import { Attention } from './attention.tsx';

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
      <Attention session={session} />
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
