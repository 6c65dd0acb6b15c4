import { describe, expect, test } from 'vitest';
import { parseMoment } from '../../cli/commands/revoke.ts';

describe('a moment', () => {
  test('now is the end of this second, so that what was issued in it is hit', () => {
    expect(parseMoment('now', 1_700_000_000_000)).toBe(1_700_000_001);
    expect(parseMoment('now', 1_700_000_000_999)).toBe(1_700_000_001);
  });

  test('may be seconds since 1970', () => {
    expect(parseMoment('1700000000')).toBe(1_700_000_000);
  });

  test('may be a time, which the issuer reads', () => {
    expect(parseMoment('2026-01-31T12:00:00Z')).toBe('2026-01-31T12:00:00Z');
  });

  test.each(['', 'yesterday', '1700000000000', '-1', '1.5', '2026-01-31', '12:00'])(
    '"%s" is none',
    (text) => {
      expect(() => parseMoment(text)).toThrow(expect.objectContaining({ name: 'UsageError' }));
    },
  );
});
