import type { JSX } from 'preact';
import { type AccessCell, type AccessRow, cellWords } from './matrix.ts';
import { useNarrow } from './narrow.ts';
import { topicTree } from './topic-tree.ts';

/**
 * Rows and a tree of topics, what may be done where as signs: a triangle that points up for publish, down for subscribe, a
 * ring for delivery alone; filled for all clients of the row, hollow with a number for some. Arrow keys move, Enter opens.
 */
export function AccessMap({
  rows,
  topics,
  label,
  onOpen,
}: {
  rows: readonly AccessRow[];
  topics: readonly string[];
  label: string;
  onOpen: (row: AccessRow, topic: string) => void;
}) {
  const { leaves, branches, depth } = topicTree(topics);
  const longest = Math.max(0, ...leaves.map(({ label }) => Math.min(label.length, MAX_LEAF)));
  const top = depth * BAND + longest * 7 + 16;
  const isNarrow = useNarrow();
  const left = isNarrow ? 1 : LEFT;
  const rowHeight = isNarrow ? CELL_HEIGHT + ABOVE : CELL_HEIGHT;
  const width = left + leaves.length * CELL_WIDTH + 1;
  const height = top + rows.length * rowHeight + 1;
  const x = (column: number) => left + column * CELL_WIDTH;
  const counts = { 'aria-rowcount': rows.length + 1, 'aria-colcount': leaves.length + 1 };
  const openAt = (at: Element | null) => {
    const [line = -1, column = -1] = placeOf(at);
    const [one, leaf] = [rows[line], leaves[column]];
    if (one !== undefined && leaf !== undefined) onOpen(one, leaf.topic);
  };
  return (
    <div class="scroll">
      <svg
        {...grid}
        {...counts}
        class="access"
        aria-label={label}
        width={width}
        height={height}
        viewBox={`0 0 ${width} ${height}`}
        onClick={({ target }) => openAt(cellAt(target))}
        onKeyDown={(event) => {
          const at = cellAt(event.target);
          if (event.key === 'Enter' || event.key === ' ') openAt(at);
          else if (!moveFocus(event.currentTarget, at, event.key)) return;
          event.preventDefault();
        }}
      >
        <g {...hidden}>
          {branches.map(({ label, path, depth, from, to }) => (
            <g key={path} transform={`translate(${x(from)} ${depth * BAND})`}>
              <rect class="band" x={0.5} y={0.5} width={(to - from) * CELL_WIDTH - 1} height={BAND - 2} />
              <text class="axis" x={6} y={BAND - 8}>
                {shortened(label, Math.floor(((to - from) * CELL_WIDTH - 10) / 7))}
              </text>
              <title>{path}</title>
            </g>
          ))}
        </g>
        <g {...row}>
          <g {...columnHeader} aria-label="Name" />
          {leaves.map(({ topic, label }, column) => (
            <g {...columnHeader} key={topic} aria-label={topic}>
              <text
                {...hidden}
                class="axis"
                transform={`translate(${x(column) + CELL_WIDTH / 2 + 4} ${top - 8}) rotate(-90)`}
              >
                {shortened(label, MAX_LEAF)}
              </text>
              <title>{topic}</title>
            </g>
          ))}
        </g>
        {rows.map((one, line) => (
          <g {...row} key={one.name}>
            <g {...rowHeader} aria-label={one.name}>
              <text
                {...hidden}
                class={isNarrow ? 'axis' : 'axis end'}
                x={isNarrow ? 2 : LEFT - 8}
                y={top + line * rowHeight + (isNarrow ? 15 : 22)}
              >
                {isNarrow ? one.name : shortened(one.name, MAX_NAME)}
              </text>
              <title>{one.name}</title>
            </g>
            {leaves.map(({ topic }, column) => {
              const cell = one.cells.get(topic);
              return (
                <g
                  {...gridCell}
                  key={topic}
                  // In SVG an attribute counts as it is spelled.
                  tabindex={line === 0 && column === 0 ? 0 : -1}
                  data-at={`${line} ${column}`}
                  transform={`translate(${x(column)} ${top + (line + 1) * rowHeight - CELL_HEIGHT})`}
                >
                  <title>{`${one.name}, ${topic}: ${cellWords(cell, one.clients)}`}</title>
                  <rect class="field" x={0.5} y={0.5} width={CELL_WIDTH - 1} height={CELL_HEIGHT - 1} />
                  {cell === undefined ? null : <Signs cell={cell} clients={one.clients} />}
                </g>
              );
            })}
          </g>
        ))}
      </svg>
    </div>
  );
}

/** What the signs mean. */
export function AccessLegend() {
  // Where in a cell the sign is.
  const [left, right, middle] = [0, 23, 12];
  const entries = [
    ['all may publish', left, { publish: 2, subscribe: 0, receive: 0 }],
    ['some may publish', left, { publish: 1, subscribe: 0, receive: 0 }],
    ['all may subscribe', right, { publish: 0, subscribe: 2, receive: 2 }],
    ['some may subscribe', right, { publish: 0, subscribe: 1, receive: 1 }],
    ['delivered by a wider subscription', right, { publish: 0, subscribe: 0, receive: 2 }],
    ['nothing', middle, { publish: 0, subscribe: 0, receive: 0 }],
  ] as const;
  return (
    <ul class="legend">
      {entries.map(([words, x, counts]) => (
        <li key={words}>
          <svg
            aria-hidden="true"
            class="access"
            width={26}
            height={CELL_HEIGHT}
            viewBox={`${x} 0 26 ${CELL_HEIGHT}`}
          >
            <Signs cell={{ ...counts, examples: {} }} clients={2} />
          </svg>
          {words}
        </li>
      ))}
    </ul>
  );
}

function Signs({ cell, clients }: { cell: AccessCell; clients: number }) {
  const { publish, subscribe, receive } = cell;
  if (publish + subscribe + receive === 0) {
    return <circle class="nothing" cx={CELL_WIDTH / 2} cy={CELL_HEIGHT / 2} r={2} />;
  }
  const isDeliveredOnly = receive > subscribe && subscribe === 0;
  return (
    <>
      {publish === 0 ? null : (
        <Sign
          shape={<path d="M13 5 L21 18 L5 18 Z" />}
          kind="publish"
          count={publish}
          clients={clients}
          x={13}
        />
      )}
      {subscribe === 0 && !isDeliveredOnly ? null : (
        <Sign
          shape={isDeliveredOnly ? <circle cx={36} cy={12} r={6} /> : <path d="M28 6 L44 6 L36 19 Z" />}
          kind={isDeliveredOnly ? 'receive' : 'subscribe'}
          count={isDeliveredOnly ? receive : subscribe}
          clients={clients}
          x={36}
        />
      )}
    </>
  );
}

function Sign({
  shape,
  kind,
  count,
  clients,
  x,
}: {
  shape: JSX.Element;
  kind: string;
  count: number;
  clients: number;
  x: number;
}) {
  const isAll = count === clients;
  return (
    <g {...hidden} class={`sign ${kind} ${isAll && kind !== 'receive' ? 'all' : 'some'}`}>
      {shape}
      {isAll ? null : (
        <text class="count" x={x} y={CELL_HEIGHT - 4}>
          {count < 10_000 ? count : `${Math.floor(count / 1000)}k`}
        </text>
      )}
    </g>
  );
}

// Roles of a table that the keyboard walks through; SVG has no elements of its own for them.
const grid = { role: 'grid' } as const;
const row = { role: 'row' } as const;
const columnHeader = { role: 'columnheader' } as const;
const rowHeader = { role: 'rowheader' } as const;
const gridCell = { role: 'gridcell' } as const;
const hidden = { 'aria-hidden': true } as const;

const LEFT = 150;
const CELL_WIDTH = 50;
const CELL_HEIGHT = 34;
const BAND = 24;
/** Of a name above its row, where the page is narrow. */
const ABOVE = 20;
const MAX_NAME = 20;
const MAX_LEAF = 24;

const shortened = (text: string, most: number) =>
  text.length > most ? `${text.slice(0, Math.max(1, most - 1))}…` : text;

const steps: Readonly<Record<string, readonly [line: number, column: number]>> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  Home: [0, Number.NEGATIVE_INFINITY],
  End: [0, Number.POSITIVE_INFINITY],
};

const cellAt = (target: EventTarget | null) => (target as Element).closest<SVGGElement>('[data-at]');
const placeOf = (cell: Element | null) => cell?.getAttribute('data-at')?.split(' ').map(Number) ?? [];

/** One cell is in the order of the Tab key; the arrows move that place. Gives back whether the key is one of them. */
function moveFocus(map: SVGSVGElement, from: SVGGElement | null, key: string): boolean {
  const step = steps[key];
  if (from === null || step === undefined) return false;
  const [line = 0, column = 0] = placeOf(from);
  const columns = Number(map.getAttribute('aria-colcount')) - 1;
  const at = Math.min(columns - 1, Math.max(0, column + step[1]));
  const to = map.querySelector<SVGGElement>(`[data-at="${line + step[0]} ${at}"]`);
  if (to === null) return true;
  map.querySelector('[data-at][tabindex="0"]')?.setAttribute('tabindex', '-1');
  to.setAttribute('tabindex', '0');
  to.focus();
  return true;
}
