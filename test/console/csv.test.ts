import { expect, test } from 'vitest';
import { undefused } from '../../cli/csv.ts';
import { csv } from '../../console/src/csv.ts';

test.each(['=1+1', '+1', '-1', '@SUM(1)', '\tx', '\r=1', "'=1"])('%j is no formula in a file', (cell) => {
  const line = csv(['name'], [[cell]]).slice('name\r\n'.length, -'\r\n'.length);
  const read = line.startsWith('"') ? line.slice(1, -1).replaceAll('""', '"') : line;
  expect(read).toBe(`'${cell}`);
  expect(undefused(read)).toBe(cell);
});

test('cells that could end a cell are quoted, and others stay as they are', () => {
  expect(csv(['a', 'b'], [['x,"y"', 'a-1']])).toBe('a,b\r\n"x,""y""",a-1\r\n');
});
