/** What a ratio of medians within one run is to be. */
export interface Bounds {
  readonly atLeast?: number;
  readonly atMost?: number;
}

export type Ratios = Record<string, number>;

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Rows as columns of a table. */
export function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, n) => cell.padEnd(widths[n] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** One line: what was wanted and what was seen. */
export function formatGoal(name: string, { atLeast, atMost }: Bounds, ratio: number | undefined): string {
  const wanted = atLeast === undefined ? `<= ${atMost}` : `>= ${atLeast}`;
  const isMet = ratio !== undefined && ratio >= (atLeast ?? 0) && ratio <= (atMost ?? Infinity);
  const verdict = ratio === undefined ? 'not measured' : `${ratio.toFixed(2)} ${isMet ? 'met' : 'MISSED'}`;
  return `goal ${name} ${wanted}: ${verdict}`;
}

export function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** To three places. */
export function ratioOf(ours: number, base: number): number {
  return Math.round((ours / base) * 1000) / 1000;
}
