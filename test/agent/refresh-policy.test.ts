import { expect, test } from 'vitest';
import { refreshDelayMs, retryDelayMs } from '../../agent/refresh-policy.ts';

test('a token is replaced between 70 % and 80 % of its lifetime', () => {
  expect(refreshDelayMs(1000, () => 0)).toBe(800);
  expect(refreshDelayMs(1000, () => 1)).toBeCloseTo(700);
});

test('a transient failure waits by full jitter: base 1 s, doubled, at most 60 s', () => {
  const longest = [0, 1, 5, 6, 1000].map((attempt) => retryDelayMs({ kind: 'transient', attempt }, () => 1));
  expect(longest).toEqual([1000, 2000, 32_000, 60_000, 60_000]);
  expect(retryDelayMs({ kind: 'transient', attempt: 3 }, () => 0)).toBe(0);
});

test('a refusal waits at least half its ceiling, at most 300 s', () => {
  expect(retryDelayMs({ kind: 'refused', attempt: 0 }, () => 0)).toBe(15_000);
  expect(retryDelayMs({ kind: 'refused', attempt: 1000 }, () => 1)).toBe(300_000);
});

test('Retry-After is waited for, at most an hour', () => {
  expect(retryDelayMs({ kind: 'transient', attempt: 0, retryAfterMs: 5000 }, () => 0)).toBe(5000);
  expect(retryDelayMs({ kind: 'transient', attempt: 0, retryAfterMs: 1e12 }, () => 0)).toBe(3_600_000);
});
