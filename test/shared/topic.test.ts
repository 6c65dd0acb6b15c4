import { matches } from '@fleetgate/shared';
import { expect, test } from 'vitest';

test('a filter that ends in /# matches its parent level', () => {
  expect(matches('a/#', 'a')).toBe(true);
});
