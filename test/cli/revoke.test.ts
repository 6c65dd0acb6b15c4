import { describe, expect, test } from 'vitest';
import { parseMoment } from '../../cli/commands/revoke.ts';

describe('a moment', () => {
  test('may be seconds since 1970', () => {
    expect(parseMoment('1700000000')).toBe(1_700_000_000);
  });

  test.each(['now', '2026-01-31T12:00:00Z'])('may be %s, which the issuer reads by its own clock', (text) => {
    expect(parseMoment(text)).toBe(text);
  });

  test.each(['', 'yesterday', '1700000000000', '-1', '1.5', '2026-01-31', '12:00'])(
    '"%s" is none',
    (text) => {
      expect(() => parseMoment(text)).toThrow(expect.objectContaining({ name: 'UsageError' }));
    },
  );
});
