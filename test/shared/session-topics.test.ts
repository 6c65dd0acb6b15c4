import { parseSessionEvent } from '@fleetgate/shared';
import { expect, test } from 'vitest';

const grants = { publish: ['a/#'], subscribe: [] };

test.each([
  { event: 'session', expires_at: 1, grants },
  { event: 'renewed', expires_at: 1, grants },
  { event: 'expiring', expires_at: 1 },
  { event: 'refused', error: 'token_expired' },
])('$event is read as it was written', (event) => {
  expect(parseSessionEvent(JSON.stringify(event))).toEqual(event);
});

test.each([
  'nonsense',
  'null',
  '[]',
  '{}',
  '{"event":"later"}',
  '{"event":"session","expires_at":1}',
  '{"event":"session","expires_at":"1","grants":{"publish":[],"subscribe":[]}}',
  '{"event":"renewed","expires_at":1,"grants":{"publish":[1],"subscribe":[]}}',
  '{"event":"expiring","expires_at":1.5}',
  '{"event":"refused","error":1}',
])('%s is no event', (json) => {
  expect(parseSessionEvent(json)).toBeUndefined();
});
