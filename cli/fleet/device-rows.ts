import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { extname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { CsvError, parse } from 'csv-parse';
import { undefused } from '../csv.ts';
import { UsageError } from '../exit.ts';
import type { DeviceRow } from '../fleet-client.ts';

/** A row with the line of the file where it begins; line 0 where there is no file. */
export interface LinedRow {
  readonly line: number;
  readonly row: DeviceRow;
}

/** Where rows come from. Read from the beginning each time. */
export interface RowSource {
  /** For people. */
  readonly name: string;
  /** Of the file that failed rows are written to. */
  readonly format: 'csv' | 'jsonl' | 'count';
  rows(): AsyncIterable<LinedRow>;
}

/** Characters of one line. Ours: a public key has some 200. */
const MAX_LINE_LENGTH = 65_536;

/** Columns that failed rows have beside their own. No place of a template is called so. */
export const failureColumns = ['_line', '_error'] as const;

/** Columns that go before what a template says, or come from a file of failed rows, and fill no place. */
export const standingColumns = /^(?:client_id|name|group|labels(?:\..*)?|public_jwk|jwks|_line|_error)$/;

/** As many rows with nothing in them. */
export function countedRows(count: number): RowSource {
  return {
    name: `${count} without a file`,
    format: 'count',
    async *rows() {
      for (let row = 0; row < count; row += 1) yield { line: 0, row: {} };
    },
  };
}

/**
 * The rows of a file: CSV with a line of names, or JSONL with an object on each line.
 * @throws UsageError for a name that ends in neither
 */
export function fileRows(file: string): RowSource {
  const ending = extname(file).toLowerCase();
  if (ending === '.csv') return { name: file, format: 'csv', rows: () => csvRows(file) };
  if (['.jsonl', '.ndjson'].includes(ending)) {
    return { name: file, format: 'jsonl', rows: () => jsonRows(file) };
  }
  throw new UsageError(`--from takes a file that ends in .csv or .jsonl, not ${file}`);
}

/**
 * Reads all rows once: how many there are, and what tells this content from another.
 * @throws UsageError where there are none
 */
export async function surveyRows(source: RowSource): Promise<{ total: number; digest: string }> {
  const hash = createHash('sha256');
  let total = 0;
  for await (const { row } of source.rows()) {
    total += 1;
    hash.update(JSON.stringify(row));
  }
  if (total === 0) throw new UsageError(`${source.name} has no rows`);
  return { total, digest: hash.digest('hex') };
}

async function* csvRows(file: string): AsyncGenerator<LinedRow> {
  const parser = parse({
    bom: true,
    columns: (names: string[]) => checkNames(file, names),
    info: true,
    max_record_size: MAX_LINE_LENGTH,
    // Else those of the first line count for all.
    record_delimiter: ['\r\n', '\n', '\r'],
    skip_empty_lines: true,
    trim: true,
    cast: (value) => undefused(value),
  });
  // An error of either ends the loop below.
  const reading = pipeline(createReadStream(file), utf8, parser).catch(() => undefined);
  try {
    for await (const { record, info } of parser as AsyncIterable<CsvRecord>) {
      yield { line: info.lines, row: record };
    }
  } catch (error) {
    throw unreadable(file, error);
  }
  await reading;
}

/** What is not UTF-8 is refused: a spreadsheet also writes UTF-16 and code pages, of which names come out wrong. */
async function* utf8(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  for await (const chunk of chunks) yield decoder.decode(chunk, { stream: true });
  yield decoder.decode();
}

interface CsvRecord {
  readonly record: DeviceRow;
  readonly info: { readonly lines: number };
}

function checkNames(file: string, names: readonly string[]): string[] {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`${file}: two columns are called '${twice}'`);
  const [only = ''] = names;
  if (/^sep=/i.test(only)) {
    throw new UsageError(
      `${file}:1: this line is for a spreadsheet; remove it, the names of the columns come first`,
    );
  }
  if (names.length === 1 && /[;\t]/.test(only)) {
    throw new UsageError(
      `${file}: columns are separated by commas, and here by ${only.includes(';') ? 'semicolons' : 'tabs'}`,
    );
  }
  if (names.includes('')) throw new UsageError(`${file}: column ${names.indexOf('') + 1} has no name`);
  return [...names];
}

/** The rows of a file of JSONL, whatever its name ends in. */
export async function* jsonRows(file: string): AsyncGenerator<LinedRow> {
  const handle = await open(file).catch((error: unknown) => {
    throw unreadable(file, error);
  });
  let line = 0;
  try {
    for await (const text of handle.readLines()) {
      line += 1;
      if (text.trim() === '') continue;
      if (text.length > MAX_LINE_LENGTH) {
        throw new UsageError(`${file}:${line}: the line is longer than ${MAX_LINE_LENGTH} characters`);
      }
      yield { line, row: parseRow(file, line, text) };
    }
  } catch (error) {
    throw unreadable(file, error);
  } finally {
    await handle.close();
  }
}

function parseRow(file: string, line: number, text: string): DeviceRow {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new UsageError(`${file}:${line}: this is no JSON; each line is an object such as {"serial":"A1"}`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as DeviceRow;
  throw new UsageError(`${file}:${line}: this is no object; each line is one such as {"serial":"A1"}`);
}

function unreadable(file: string, error: unknown): Error {
  if (error instanceof UsageError) return error;
  if (error instanceof CsvError) {
    const where = typeof error['lines'] === 'number' ? `:${error['lines']}` : '';
    return new UsageError(`${file}${where}: ${csvWords(error)}`);
  }
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
    return new UsageError(`${file} is not UTF-8; a spreadsheet writes it as 'CSV UTF-8'`);
  }
  return code === undefined ? (error as Error) : new UsageError(`cannot read ${file} (${code})`);
}

/** The library's own words may quote the line. */
function csvWords({ code }: CsvError): string {
  switch (code) {
    case 'CSV_RECORD_INCONSISTENT_COLUMNS':
    case 'CSV_RECORD_INCONSISTENT_FIELDS_LENGTH':
      return 'the line has more or fewer cells than there are columns';
    case 'CSV_QUOTE_NOT_CLOSED':
      return 'a quote is opened and not closed';
    case 'CSV_MAX_RECORD_SIZE':
      return `the line is longer than ${MAX_LINE_LENGTH} characters`;
    default:
      return `the line is no CSV (${code})`;
  }
}
