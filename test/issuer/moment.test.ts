import { expect, test } from 'vitest';
import { parseMoment, readMoment } from '../../issuer/http/moment.ts';

test.each([
  '2026-01-31T12:00:00Z',
  '2026-01-31 12:00:00Z',
  '2026-01-31t13:00:00+01:00',
  '2026-01-31 12:00:00.000Z',
])('%s is a time', (text) => {
  expect(parseMoment(text)).toBe(Date.UTC(2026, 0, 31, 12));
  expect(readMoment('since', text)).toBe(Date.UTC(2026, 0, 31, 12) / 1000);
});

test.each([
  '2026-01-31',
  '2026-01-31 12:00:00',
  '2026-01-31  12:00:00Z',
  '2026-13-31T12:00:00Z',
  'yesterday',
])('%s is none', (text) => {
  expect(parseMoment(text)).toBeUndefined();
});
