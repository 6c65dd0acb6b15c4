import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { formatCsv } from '../../../cli/csv.ts';
import { fileRows, surveyRows } from '../../../cli/fleet/device-rows.ts';

function fileOf(name: string, content: string | Buffer): string {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-rows-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, name);
  writeFileSync(file, content);
  return file;
}

const read = (name: string, content: string | Buffer) =>
  Array.fromAsync(fileRows(fileOf(name, content)).rows());

test('CSV has a row for each line, with quotes, a byte order mark, empty lines and both line ends', async () => {
  const text = '\uFEFFserial,note\r\nA1,"a, ""b"""\r\n\r\nA2, spaced \nA3,"two\nlines"\n';
  expect(await read('a.csv', text)).toEqual([
    { line: 2, row: { serial: 'A1', note: 'a, "b"' } },
    { line: 4, row: { serial: 'A2', note: 'spaced' } },
    { line: 6, row: { serial: 'A3', note: 'two\nlines' } },
  ]);
});

test('JSONL has a row for each line', async () => {
  expect(await read('a.jsonl', '{"serial":"A1"}\n\n{"n":2,"labels":{"a":"b"}}')).toEqual([
    { line: 1, row: { serial: 'A1' } },
    { line: 3, row: { n: 2, labels: { a: 'b' } } },
  ]);
});

test.each([
  ['a.csv', 'serial,hw\nA1,x\nA2\n', /a\.csv:3: .*more or fewer/],
  ['a.csv', 'serial,serial\nA1,A2\n', /two columns are called 'serial'/],
  ['a.csv', 'serial,\nA1,A2\n', /column 2 has no name/],
  ['a.csv', 'serial;plant\nA1;7\n', /separated by commas, and here by semicolons/],
  ['a.csv', 'serial\tplant\nA1\t7\n', /here by tabs/],
  ['a.csv', 'sep=,\r\nserial,plant\r\nA1,7\r\n', /a\.csv:1: .*remove it/],
  ['a.csv', 'sep=;\r\nserial;plant\r\nA1;7\r\n', /a\.csv:1: .*remove it/],
  ['a.csv', 'serial\n"A1\n', /quote is opened and not closed/],
  ['a.csv', `serial\n${'x'.repeat(70_000)}\n`, /longer than 65536/],
  ['a.jsonl', '{"serial":"A1"}\n{"serial":', /a\.jsonl:2: this is no JSON/],
  ['a.jsonl', '[1]', /a\.jsonl:1: this is no object/],
  ['a.jsonl', `{"a":"${'x'.repeat(70_000)}"}`, /a\.jsonl:1: .*longer than 65536/],
])('%s with %j is refused, naming the line and not quoting it', async (name, content, message) => {
  await expect(read(name, content)).rejects.toThrow(message);
});

test.each([
  ['UTF-16', Buffer.from('\uFEFFserial\nA1\n', 'utf16le')],
  ['a code page', Buffer.from('serial,name\nA1,B\u00e4r\n', 'latin1')],
])('CSV in %s is refused', async (_name, content) => {
  await expect(read('a.csv', content)).rejects.toThrow(/is not UTF-8/);
});

test('a file without rows is refused', async () => {
  await expect(surveyRows(fileRows(fileOf('a.csv', 'serial\n')))).rejects.toThrow(/has no rows/);
});

test('a file that is not there, or of another kind, is refused', async () => {
  await expect(Array.fromAsync(fileRows('/nowhere/a.csv').rows())).rejects.toThrow(/cannot read .*ENOENT/);
  expect(() => fileRows('a.xlsx')).toThrow(/\.csv or \.jsonl/);
});

test('another content has another digest, and the same the same', async () => {
  const survey = (text: string) => surveyRows(fileRows(fileOf('a.csv', text)));
  const first = await survey('serial\nA1\nA2\n');
  expect(first.total).toBe(2);
  expect(await survey('serial\r\nA1\r\n\r\nA2')).toEqual(first);
  expect((await survey('serial\nA1\nA3\n')).digest).not.toBe(first.digest);
});

test.each(['=1+1', '+1', '-1', '@a', '\tx', "'=x", 'plain', "it's", "''"])(
  'the cell %j is no formula when it is written, and itself when it is read',
  async (cell) => {
    const text = formatCsv(['serial', 'last'], [{ serial: cell, last: 'x' }]);
    expect(text.split('\r\n')[1]).not.toMatch(/^"?[=+@\t-]/);
    const rows = await read('a.csv', text);
    expect(rows[0]?.row).toEqual({ serial: cell, last: 'x' });
  },
);

test('a number stays a number', () => {
  expect(formatCsv(['a'], [{ a: -5 }])).toBe('a\r\n-5\r\n');
});
