import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { runCommand } from '../support/fleetgate-process.ts';
import type { SimulatedDay } from '../support/simulated-day.ts';

const script = resolve(import.meta.dirname, '../support/simulated-day.ts');

test('a day of refreshes of one minute each: none missed, one request at a time, and no memory kept', async () => {
  const args = ['--expose-gc', '--conditions=@fleetgate/source', script];
  const { code, stdout, stderr } = await runCommand(process.execPath, args);
  expect(code, stderr).toBe(0);
  const day = JSON.parse(stdout) as SimulatedDay;
  // From 70 % to 80 % of a minute each, in 24 hours.
  expect(day.refreshes).toBeGreaterThan(1750);
  expect(day.refreshes).toBeLessThan(2100);
  expect(day.failures).toBeGreaterThan(100);
  expect(day.missed).toBe(0);
  expect(day.mostInFlight).toBe(1);
  expect(day.heapAfterBytes / day.heapBeforeBytes).toBeLessThan(1.05);
});
