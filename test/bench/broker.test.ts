import { describe, expect, test } from 'vitest';
import { benchBroker } from '../../bench/broker/bench.ts';
import { goals, measureNames } from '../../bench/broker/goals.ts';
import { type Figures, formatGoals, ratiosOf } from '../../bench/broker/report.ts';
import { median } from '../../bench/report.ts';

test('a run prints a table, each goal, and one JSON object of the ratios as its last line', {
  timeout: 60_000,
}, async () => {
  const lines: string[] = [];
  await benchBroker({
    rounds: 1,
    seconds: 0.1,
    scale: 0.01,
    subjects: ['bare', 'fleetgate'],
    print: (line) => lines.push(line),
  });
  const [table = '', verdicts = '', json = ''] = lines;
  for (const measure of measureNames) expect(table).toMatch(new RegExp(`^${measure} +fleetgate `, 'm'));
  expect(verdicts.split('\n')).toHaveLength(goals.length);
  const ratios = JSON.parse(json) as Record<string, number>;
  expect(Object.keys(ratios).sort()).toEqual(
    measureNames.map((measure) => `${measure}.fleetgate/bare`).sort(),
  );
  for (const ratio of Object.values(ratios)) expect(Number.isFinite(ratio)).toBe(true);
  expect(process.exitCode ?? 0).toBe(0);
});

describe('figures', () => {
  const figures: Figures = new Map([
    ['bare', new Map([['qos0', [90, 100, 110]]])],
    ['fleetgate', new Map([['qos0', [80, 97, 200]]])],
  ]);

  test('are medians, and ratios of medians', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(ratiosOf(figures)).toEqual({ 'qos0.fleetgate/bare': 0.97 });
  });

  test('are held against the goals', () => {
    const verdicts = formatGoals({ 'qos0.fleetgate/bare': 0.97, 'memory.fleetgate/bare': 1.2 });
    expect(verdicts).toContain('qos0 fleetgate/bare >= 0.95: 0.97 met');
    expect(verdicts).toContain('memory fleetgate/bare <= 1.1: 1.20 MISSED');
    expect(verdicts).toContain('connect_first fleetgate/rabbitmq >= 4: not measured');
  });
});

test('a subject or measure nobody knows is refused by name', async () => {
  await expect(benchBroker({ rounds: 1, seconds: 1, subjects: ['aedes'] })).rejects.toThrow(
    '--subjects takes',
  );
});
