import { expect, test } from 'vitest';
import { showProgress } from '../../../cli/fleet/progress.ts';

function watched(isTTY: boolean) {
  const text: string[] = [];
  let nowMs = 0;
  const stream = {
    isTTY,
    columns: 120,
    write: (part: string) => text.push(part),
    once: () => undefined,
    on: () => undefined,
    removeListener: () => undefined,
  } as unknown as NodeJS.WriteStream;
  return {
    text,
    after: (ms: number) => {
      nowMs += ms;
    },
    options: { what: 'devices', stream, monotonicMs: () => nowMs },
  };
}

test('without a terminal there is a line every few seconds, with rate and remaining time, and one at the end', () => {
  const { text, after, options } = watched(false);
  const progress = showProgress({ ...options, total: 1000, done: 100 });
  progress.update(150);
  after(6000);
  progress.update(400, 2);
  progress.update(410, 2);
  after(100);
  progress.update(1000, 2);
  progress.stop();
  expect(text).toEqual([
    '400 of 1000 devices, 2 failed (50/s, 12 s left)\n',
    '1000 of 1000 devices, 2 failed (148/s)\n',
  ]);
});

test.each([
  [100 + 61 * 10, '1 min 1 s left'],
  [100 + 3660 * 10, '1 h 1 min left'],
])('of %s, what is left is told in a unit that fits', (total, words) => {
  const { text, after, options } = watched(false);
  const progress = showProgress({ ...options, total });
  after(10_000);
  progress.update(100);
  expect(text.join('')).toContain(`(10/s, ${words})`);
});

test('on a terminal there is a bar', () => {
  const { text, after, options } = watched(true);
  const progress = showProgress({ ...options, total: 10 });
  after(1000);
  progress.update(5);
  progress.stop();
  const shown = text.join('');
  expect(shown).toContain('5/10 devices');
  expect(shown).toMatch(/[█░]/);
});
