import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createDeadlines } from '../../broker/deadlines.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function recorded() {
  const met: string[] = [];
  const errors: unknown[] = [];
  const deadlines = createDeadlines({ now: Date.now, onError: (error) => void errors.push(error) });
  const start = Date.now();
  const add = (name: string, afterMs: number) =>
    deadlines.add(start + afterMs, (one: string) => void met.push(one), name);
  return { met, errors, deadlines, add, start };
}

test('each is met once, in order of time, whatever the order they were added in', () => {
  const { met, add } = recorded();
  const order = [5, 3, 9, 1, 7, 2, 8, 4, 6, 10];
  for (const seconds of order) add(String(seconds), seconds * 1000);
  vi.advanceTimersByTime(20_000);
  expect(met).toEqual(['1', '2', '3', '4', '5', '6', '7', '8', '9', '10']);
});

test('none is met early', () => {
  const { met, add } = recorded();
  add('a', 1500);
  vi.advanceTimersByTime(1499);
  expect(met).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(met).toEqual(['a']);
});

test('one timer serves any number', () => {
  const { add } = recorded();
  for (let i = 0; i < 1000; i += 1) add(String(i), 1000 + i);
  expect(vi.getTimerCount()).toBe(1);
});

test('a cancelled one is never met, and the others are', () => {
  const { met, add, deadlines } = recorded();
  const all = Array.from({ length: 50 }, (_, i) => add(String(i), 1000 + ((i * 37) % 50)));
  for (const [i, one] of all.entries()) if (i % 3 === 0) deadlines.cancel(one);
  for (const one of all.slice(0, 5)) deadlines.cancel(one);
  vi.advanceTimersByTime(5000);
  expect(met.map(Number).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 50 }, (_, i) => i).filter((i) => i % 3 !== 0 && i >= 5),
  );
  expect(deadlines.size).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

test('one more than 2^31-1 ms away is not met at once', () => {
  const { met, add } = recorded();
  add('far', 2 ** 31 + 5_000);
  vi.advanceTimersByTime(60_000);
  expect(met).toEqual([]);
});

test('a clock that is set forward is noticed within a second', () => {
  const { met, add, start } = recorded();
  add('a', 3_600_000);
  vi.advanceTimersByTime(500);
  vi.setSystemTime(start + 3_600_000);
  vi.advanceTimersByTime(1000);
  expect(met).toEqual(['a']);
});

test('what one throws is handed over, and the others are met', () => {
  const { met, errors, add, deadlines, start } = recorded();
  const fail = () => {
    throw new Error('broken');
  };
  deadlines.add(start + 10, fail, undefined);
  add('a', 11);
  vi.advanceTimersByTime(1000);
  expect(met).toEqual(['a']);
  expect(errors).toHaveLength(1);
});

test('one added while one is met is met too, and close cancels all', () => {
  const { met, add, deadlines, start } = recorded();
  deadlines.add(start + 10, () => void add('second', 20), undefined);
  vi.advanceTimersByTime(100);
  expect(met).toEqual(['second']);
  add('third', 1000);
  deadlines.close();
  vi.advanceTimersByTime(5000);
  expect(met).toEqual(['second']);
  expect(vi.getTimerCount()).toBe(0);
});
