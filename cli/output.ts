import { formatCsv } from './csv.ts';

/** How a command prints its data on stdout. */
export type Format = 'table' | 'json';
export const formats: readonly Format[] = ['table', 'json'];

/** The same for a command whose data are rows. */
export type RowFormat = Format | 'csv';
export const rowFormats: readonly RowFormat[] = ['table', 'json', 'csv'];

export type Row = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Rows as text, under their columns. */
export function formatTable(columns: readonly string[], rows: readonly Row[]): string {
  const heads = columns.map((column) => column.toUpperCase().replaceAll('_', ' '));
  return formatLines(
    heads,
    rows.map((row) => columns.map((column) => row[column])),
  );
}

/** Lines of cells under their heads: padded to the widest cell, the last one left as it is. */
export function formatLines(heads: readonly string[], lines: readonly (readonly Row[string][])[]): string {
  const cells = lines.map((row) => row.map(cell));
  const widths = heads.map((head, i) => Math.max(head.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const line = (texts: readonly string[]) =>
    texts
      .map((text, i) => text.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return `${[heads, ...cells].map(line).join('\n')}\n`;
}

/** A record as text: a line for each key that has a value. */
export function formatRecord(record: Row): string {
  const entries = Object.entries(record).filter(([, value]) => value !== undefined);
  const width = Math.max(...entries.map(([key]) => key.length));
  return entries.map(([key, value]) => `${key.padEnd(width)}  ${cell(value)}\n`).join('');
}

/** Rows as a table or CSV; of a table the columns that fit a terminal. */
export function formatRows(
  format: Exclude<RowFormat, 'json'>,
  rows: readonly Row[],
  columns: { readonly table: readonly string[]; readonly csv: readonly string[] },
): string {
  return format === 'csv' ? formatCsv(columns.csv, rows) : formatTable(columns.table, rows);
}

/** Any value as JSON, indented, ending in a newline. */
export function formatJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

const cell = (value: Row[string]) => onOneLine(String(value ?? ''));

/** Text that came over the wire or from a file, for a terminal: that would obey the control characters in it. */
export function onOneLine(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, '?');
}

/** What the API shows as a row: a list as its members, an object as JSON. */
export function toRow(view: object): Row {
  return Object.fromEntries(
    Object.entries(view).map(([key, value]) => [
      key,
      Array.isArray(value)
        ? value.join(' ')
        : typeof value === 'object' && value !== null
          ? JSON.stringify(value)
          : value,
    ]),
  );
}
