import { expect, test } from 'vitest';
import { dropOldest, putBounded } from '../../shared/bounded-map.ts';

/** Counts the walks from its beginning. */
class CountingMap extends Map<string, number> {
  walks = 0;

  override keys() {
    this.walks += 1;
    return super.keys();
  }
}

test('a small map keeps as many as it may, and those that were put last', () => {
  const map = new Map<string, number>();
  for (const key of ['a', 'b', 'c', 'a', 'd', 'e']) putBounded(map, key, 1, 3);
  expect(Array.from(map.keys())).toEqual(['a', 'd', 'e']);
});

test('a large map is never larger than it may be, nor much smaller, and is rarely walked to find the oldest', () => {
  const map = new CountingMap();
  for (let n = 0; n < 20_000; n += 1) {
    putBounded(map, `${n}`, n, 6400);
    if (n < 6400) continue;
    expect(map.size).toBeLessThanOrEqual(6400);
    expect(map.size).toBeGreaterThanOrEqual(6300);
  }
  expect(map.walks).toBeLessThan(150);
  expect([map.has('19999'), map.has(`${19_999 - 6299}`), map.has(`${19_999 - 6400}`)]).toEqual([
    true,
    true,
    false,
  ]);
});

test('who drops is told of each that is dropped, and of no other', () => {
  const map = new Map(Array.from({ length: 640 }, (_, n) => [`${n}`, n]));
  const dropped: string[] = [];
  dropOldest(map, 640, (key) => dropped.push(key));
  expect(dropped).toEqual([]);
  map.set('another', 1);
  dropOldest(map, 640, (key) => dropped.push(key));
  expect(dropped).toEqual(Array.from({ length: 11 }, (_, n) => `${n}`));
  expect(dropped.some((key) => map.has(key))).toBe(false);
});
