import { expect, test } from 'vitest';
import { matches } from '@fleetgate/shared';

test('a filter that ends in /# matches its parent level', () => {
  expect(matches('a/#', 'a')).toBe(true);
});
