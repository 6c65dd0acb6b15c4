import type { Row } from './output.ts';

/** Rows as CSV with a line of names (RFC 4180). */
export function formatCsv(columns: readonly string[], rows: readonly Row[]): string {
  return [columns, ...rows.map((row) => columns.map((column) => row[column]))].map(csvLine).join('');
}

/** One line of CSV. */
export function csvLine(cells: readonly Row[string][]): string {
  return `${cells.map(field).join(',')}\r\n`;
}

function field(value: Row[string]): string {
  const text = typeof value === 'string' ? defused(value) : String(value ?? '');
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// A spreadsheet takes a cell that begins so for a formula, which may send other cells away. One with quotes before it
// gets another, so that it can be read back.
const formulaPattern = /^'*[=+\-@\t\r]/;

/** A text as no spreadsheet runs it: with a quote in front, where it could be a formula. */
const defused = (text: string) => (formulaPattern.test(text) ? `'${text}` : text);

/** The text that was {@link csvLine | written} so. */
export function undefused(text: string): string {
  return text.startsWith("'") && formulaPattern.test(text.slice(1)) ? text.slice(1) : text;
}
