import { useNarrow } from './narrow.ts';

/** Counts by row and column; what is darker is more, and each cell has its number. */
export function HeatMap({
  rows,
  columns,
  count,
  label,
}: {
  rows: readonly string[];
  columns: readonly string[];
  count: (row: string, column: string) => number;
  label: string;
}) {
  const most = Math.max(1, ...rows.flatMap((row) => columns.map((column) => count(row, column))));
  const { left, rowHeight, minWidth } = useNarrow() ? namesAbove : namesBeside;
  const width = Math.max(minWidth, left + columns.length * CELL_WIDTH + RIGHT);
  const height = TOP + rows.length * rowHeight;
  const cellTop = (row: number) => TOP + (row + 1) * rowHeight - CELL_HEIGHT;
  return (
    <div class="scroll">
      <svg
        role="img"
        aria-label={label}
        width={width}
        height={height}
        viewBox={`0 0 ${width} ${height}`}
        // What scrolls must be reached by the keyboard; in SVG an attribute counts as it is spelled.
        tabindex={0}
      >
        {columns.map((column, at) => (
          <text
            key={column}
            class="axis"
            transform={`translate(${left + at * CELL_WIDTH + CELL_WIDTH / 2} ${TOP - 8}) rotate(-35)`}
          >
            {column}
          </text>
        ))}
        {rows.map((row, at) => (
          <text
            key={row}
            class={left === 0 ? 'axis' : 'axis end'}
            x={left === 0 ? 1 : left - 8}
            y={left === 0 ? cellTop(at) - 6 : cellTop(at) + CELL_HEIGHT / 2 + 4}
          >
            {shortened(row)}
            <title>{row}</title>
          </text>
        ))}
        {rows.map((row, y) =>
          columns.map((column, x) => {
            const value = count(row, column);
            return (
              <g key={`${row} ${column}`}>
                <rect
                  class="cell"
                  x={left + x * CELL_WIDTH + 1}
                  y={cellTop(y) + 1}
                  width={CELL_WIDTH - 2}
                  height={CELL_HEIGHT - 2}
                  fill-opacity={value === 0 ? 0 : 0.12 + (0.33 * value) / most}
                />
                {value === 0 ? null : (
                  <text
                    class="number"
                    x={left + x * CELL_WIDTH + CELL_WIDTH / 2}
                    y={cellTop(y) + CELL_HEIGHT / 2 + 4}
                  >
                    {value}
                  </text>
                )}
              </g>
            );
          }),
        )}
      </svg>
    </div>
  );
}

const TOP = 100;
/** For the last of the slanted names. */
const RIGHT = 90;
const CELL_WIDTH = 84;
const CELL_HEIGHT = 32;
/** Names of rows beside their cells; on a narrow screen above them. */
const namesBeside = { left: 330, rowHeight: CELL_HEIGHT, minWidth: 0 };
const namesAbove = { left: 0, rowHeight: CELL_HEIGHT + 24, minWidth: 330 };
const MAX_SHOWN = 44;

const shortened = (text: string) => (text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN - 1)}…` : text);
