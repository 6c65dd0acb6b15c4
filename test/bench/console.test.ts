import { expect, test } from 'vitest';
import { benchConsole } from '../../bench/console/bench.ts';
import { isChromiumMissing } from '../support/browser.ts';

test.skipIf(isChromiumMissing)(
  'a run prints figures, each goal, and one JSON object as its last line',
  {
    timeout: 120_000,
  },
  async () => {
    const lines: string[] = [];
    await benchConsole({
      rounds: 1,
      seconds: 2,
      clients: 2000,
      sessions: 40,
      print: (line) => lines.push(line),
    });
    const [table = '', verdicts = '', json = ''] = lines;
    const figures = JSON.parse(json) as Record<string, number>;
    for (const [name, value] of Object.entries(figures)) {
      expect(table).toMatch(new RegExp(`^${name} +`, 'm'));
      expect(Number.isFinite(value), name).toBe(true);
    }
    expect(figures['overview_ms']).toBeGreaterThan(0);
    expect(figures['page_cpu_percent']).toBeGreaterThan(0);
    expect(figures['server_cpu_percent']).toBeGreaterThan(0);
    expect(verdicts.split('\n')).toHaveLength(4);
    expect(verdicts).not.toContain('not measured');
  },
);
