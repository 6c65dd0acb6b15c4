import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { drawn, outageTable, plotOutage, simulateOutage } from '../../bench/scale/outage.ts';

const page = readFileSync(new URL('../../docs/scaling.md', import.meta.url), 'utf8');

test('the table and the plot of the page are those of the simulation', { timeout: 60_000 }, () => {
  expect(page).toContain(outageTable().join('\n'));
  expect(page).toContain(plotOutage(drawn));
});

test('without an outage a fleet asks for as many tokens as the formula says, and none is without one', () => {
  const { requests, tokens, expired, recoveredAfterSeconds } = simulateOutage({
    devices: 10_000,
    lifetimeSeconds: 900,
    outageSeconds: 0,
    tokensPerSecond: 1000,
    seed: 3,
  });
  const mean = requests.reduce((sum, one) => sum + one, 0) / requests.length;
  expect(mean).toBeCloseTo(10_000 / (900 * 0.75), 0);
  expect(tokens).toEqual(requests);
  expect([Math.max(...expired), recoveredAfterSeconds]).toEqual([0, 0]);
});

test('who gives no more than the fleet asks for at rest does not catch up', () => {
  const options = { devices: 10_000, lifetimeSeconds: 900, outageSeconds: 600, seed: 3 };
  expect(simulateOutage({ ...options, tokensPerSecond: 12 }).recoveredAfterSeconds).toBeNaN();
  expect(simulateOutage({ ...options, tokensPerSecond: 45 }).recoveredAfterSeconds).toBeLessThan(900);
});
