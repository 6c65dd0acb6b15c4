import { expect, test } from 'vitest';
import { benchCoap } from '../../bench/coap/bench.ts';

test('a run prints a table, the goal, and one JSON object of the ratios as its last line', {
  timeout: 60_000,
}, async () => {
  const lines: string[] = [];
  await benchCoap({ rounds: 1, seconds: 0.5, warmUpTokens: 1, print: (line) => lines.push(line) });
  const [table, verdict, json = ''] = lines;
  expect(table).toMatch(/^coap +[\d,]+ +[\d.]+ +[\d,]+$/m);
  expect(table).toMatch(/^http +[\d,]+ +[\d.]+ +[\d,]+$/m);
  expect(verdict).toContain('per_second.coap/http');
  for (const ratio of Object.values(JSON.parse(json))) expect(ratio).toBeGreaterThan(0);
});
