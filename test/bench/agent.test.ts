import { expect, test } from 'vitest';
import { benchAgent } from '../../bench/agent/bench.ts';

test('a run prints both subjects, each goal, and one JSON object of the ratios as its last line', {
  timeout: 60_000,
}, async () => {
  const lines: string[] = [];
  await benchAgent({ rounds: 1, messages: 600, print: (line) => lines.push(line) });
  const [agent, bare, bundle, verdicts, json = ''] = lines;
  expect(agent).toMatch(/^agent: first publish after \d+ ms, resident \d+\.\d MiB$/);
  expect(bare).toMatch(/^mqtt\.js: first publish after \d+ ms, resident \d+\.\d MiB$/);
  expect(bundle).toMatch(/[\d,]+ bytes$/);
  expect(verdicts?.split('\n')).toHaveLength(2);
  for (const ratio of Object.values(JSON.parse(json))) expect(ratio).toBeGreaterThan(0);
});
