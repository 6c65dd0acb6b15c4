import { expect, test } from 'vitest';
import { isPostgresMissing } from '../../bench/postgres.ts';
import { benchScaleIssuer } from '../../bench/scale/issuer.ts';

test.skipIf(isPostgresMissing)(
  'an issuer on each store is measured in one run, and the ratios are given',
  {
    timeout: 120_000,
  },
  async () => {
    const lines: string[] = [];
    const ratios = await benchScaleIssuer({
      rounds: 1,
      seconds: 0.5,
      clients: 100,
      warmUpTokens: 1,
      print: (line) => lines.push(line),
    });
    expect(lines.join('\n')).toMatch(/^sqlite +[\d,]+ +[\d.]+ +[\d,]+$/m);
    expect(lines.join('\n')).toMatch(/^postgres +[\d,]+ +[\d.]+ +[\d,]+$/m);
    for (const ratio of Object.values(ratios)) expect(ratio).toBeGreaterThan(0);
  },
);
