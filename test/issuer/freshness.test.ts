import { expect, test } from 'vitest';
import { trackFreshness } from '../../issuer/coap/freshness.ts';

const contextId = (n: number) => n.toString(16).padStart(14, '0');

test('an Echo counts for its context alone, and for a minute or two', () => {
  let nowMs = 0;
  const freshness = trackFreshness(() => nowMs);
  const echo = freshness.echoFor('a');
  expect(freshness.isEcho('a', echo)).toBe(true);
  expect(freshness.isEcho('b', echo)).toBe(false);
  expect(freshness.isEcho('a', echo.subarray(1))).toBe(false);
  nowMs = 119_999;
  expect(freshness.isEcho('a', echo)).toBe(true);
  nowMs = 120_000;
  expect(freshness.isEcho('a', echo)).toBe(false);
});

test('a context whose window gave way to others needs a new Echo: a request that used the old one is a replay', () => {
  const freshness = trackFreshness(() => 0, { maxWindows: 3 });
  const echo = freshness.echoFor(contextId(0));
  freshness.begin(contextId(0), 7);
  for (let n = 1; n <= 3; n += 1) freshness.begin(contextId(n), 7);
  expect(freshness.windowOf(contextId(0))).toBeUndefined();
  expect(freshness.isEcho(contextId(0), echo)).toBe(false);
  expect(freshness.isEcho(contextId(0), freshness.echoFor(contextId(0)))).toBe(true);
});

test('the window that was used longest ago gives way, and the others stay', () => {
  const freshness = trackFreshness(() => 0, { maxWindows: 2 });
  freshness.begin('aaaa', 1);
  freshness.begin('bbbb', 1);
  freshness.windowOf('aaaa');
  freshness.begin('cccc', 1);
  expect(['aaaa', 'bbbb', 'cccc'].map((id) => freshness.windowOf(id) !== undefined)).toEqual([
    true,
    false,
    true,
  ]);
});
