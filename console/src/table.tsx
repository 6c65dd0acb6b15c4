import type { ComponentChildren } from 'preact';

export interface Column<Row> {
  readonly name: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** Moments and numbers stay on one line. */
  readonly isShort?: boolean;
}

/** Rows under their columns; what is too wide scrolls by itself. On a phone each row is a card, its columns one below the other. */
export function Table<Row>({
  columns,
  rows,
  keyOf,
}: {
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row, at: number) => string | number;
}) {
  return (
    <div class="scroll">
      <table class="cards">
        <thead>
          <tr>
            {columns.map(({ name }) => (
              <th scope="col" key={name}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={keyOf(row, at)}>
              {columns.map(({ name, cell, isShort }) => (
                <td key={name} class={isShort === true ? 'nowrap' : undefined} data-column={name}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Steps through pages that the server names by cursors. */
export function Pager({
  cursors,
  next,
  onChange,
}: {
  cursors: readonly string[];
  next: string | undefined;
  onChange: (cursors: readonly string[]) => void;
}) {
  return (
    <p class="more">
      <button
        type="button"
        class="plain"
        disabled={cursors.length === 0}
        onClick={() => onChange(cursors.slice(0, -1))}
      >
        Previous
      </button>{' '}
      <button
        type="button"
        class="plain"
        disabled={next === undefined}
        onClick={() => onChange([...cursors, next as string])}
      >
        Next
      </button>
    </p>
  );
}
