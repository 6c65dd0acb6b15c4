import { expect, test } from 'vitest';
import { runFleetgate } from '../support/fleetgate-process.ts';

test('fleetgate demo sees each of its steps and ends with 0', async () => {
  const { code, stdout, stderr } = await runFleetgate(['demo']);
  expect(code, stderr).toBe(0);
  expect(stdout.match(/^ok {3}/gm)).toHaveLength(7);
  expect(stdout).not.toContain('FAIL');
  expect(stdout).toMatch(/asked coap:\/\/127\.0\.0\.1:\d+/);
});
