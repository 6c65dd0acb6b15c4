import { describe, expect, test } from 'vitest';
import { benchIssuer } from '../../bench/issuer/bench.ts';
import { goals, measures } from '../../bench/issuer/goals.ts';
import { type Figures, formatGoals, ratiosOf } from '../../bench/issuer/report.ts';

test('a run prints a table, each goal, and one JSON object of the ratios as its last line', {
  timeout: 60_000,
}, async () => {
  const lines: string[] = [];
  await benchIssuer({
    rounds: 1,
    seconds: 0.1,
    clients: 1500,
    warmUpTokens: 1,
    print: (line) => lines.push(line),
  });
  const [table = '', verdicts = '', json = ''] = lines;
  for (const { name, subjects } of measures) {
    for (const subject of subjects) expect(table).toMatch(new RegExp(`^${name} +${subject} `, 'm'));
  }
  expect(verdicts.split('\n')).toHaveLength(goals.length);
  const ratios = JSON.parse(json) as Record<string, number>;
  for (const { ratio } of goals) expect(ratios[ratio], ratio).toBeGreaterThan(0);
});

describe('figures', () => {
  const figures: Figures = new Map([
    [
      'basic_es256',
      new Map([
        ['fleetgate', new Map([['per_second', [80, 97, 200]]])],
        ['oidc-provider', new Map([['per_second', [9, 10, 11]]])],
      ]),
    ],
  ]);

  test('become ratios of medians', () => {
    expect(ratiosOf(figures)).toEqual({ 'per_second.basic_es256.fleetgate/oidc-provider': 9.7 });
  });

  test('are held against the goals', () => {
    const verdicts = formatGoals({
      'per_second.basic_es256.fleetgate/oidc-provider': 2.9,
      'resident_bytes.basic_es256.fleetgate/oidc-provider': 0.6,
    });
    expect(verdicts).toContain('per_second.basic_es256.fleetgate/oidc-provider >= 3: 2.90 MISSED');
    expect(verdicts).toContain('resident_bytes.basic_es256.fleetgate/oidc-provider <= 0.7: 0.60 met');
    expect(verdicts).toContain('per_second.basic_eddsa.fleetgate/oidc-provider >= 2: not measured');
  });
});

test('a measure nobody knows is refused by name', async () => {
  await expect(benchIssuer({ rounds: 1, seconds: 1, clients: 1, only: ['rs256'] })).rejects.toThrow(
    '--only takes',
  );
});
