import { expect, test } from 'vitest';
import { isRedisMissing } from '../../bench/redis.ts';
import { benchScaleBrokers } from '../../bench/scale/brokers.ts';

test.skipIf(isRedisMissing)(
  'brokers on one Redis are measured against one without',
  async () => {
    const lines: string[] = [];
    const ratios = await benchScaleBrokers({
      rounds: 1,
      seconds: 0.2,
      scale: 0.01,
      print: (line) => lines.push(line),
    });
    const [heads = '', ...rows] = lines.join('\n').split('\n');
    expect(heads.trim().split(/ {2,}/)).toEqual([
      'brokers on one Redis',
      'connects/s',
      'qos0/s',
      'qos1/s',
      'fan_out/s',
    ]);
    expect(rows.map((row) => row.split(/ {2,}/)[0])).toEqual(['one without', '1', '2', '3']);
    expect(Object.keys(ratios)).toHaveLength(12);
    for (const ratio of Object.values(ratios)) expect(ratio).toBeGreaterThan(0);
    expect(process.exitCode ?? 0).toBe(0);
  },
  60_000,
);
