import { FleetgateError } from '@fleetgate/shared';
import { expect, test } from 'vitest';
import { step } from '../../cli/demo/step.ts';
import { EXIT_FAILED, exitCodeOf } from '../../cli/exit.ts';

test('a step that happened is told with what was seen', async () => {
  const lines: string[] = [];
  await step(
    (line) => lines.push(line),
    'a title',
    async () => 'what was seen',
  );
  expect(lines).toEqual(['ok   a title\n       what was seen']);
});

test.each<[string, () => Promise<string>, string]>([
  ['failed', () => Promise.reject(new Error('why')), 'why'],
  ['never came to an end', () => new Promise(() => undefined), 'it took too long'],
])('a step that %s is told, and ends the command with 1', async (_how, act, words) => {
  const lines: string[] = [];
  const error = await step((line) => lines.push(line), 'a title', act, 0.05).catch((thrown) => thrown);
  expect(lines).toEqual([`FAIL a title\n       ${words}`]);
  expect(error).toBeInstanceOf(FleetgateError);
  expect(exitCodeOf(error)).toBe(EXIT_FAILED);
});
