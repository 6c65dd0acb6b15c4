import { OAuthError } from '@fleetgate/shared';

// RFC 3339 §5.6, with seconds and an offset; a blank may stand for the T, as where people read it.
const momentPattern = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/i;

/** Milliseconds since 1970 of an RFC 3339 time; unset when it is none. */
export function parseMoment(text: string): number | undefined {
  const ms = momentPattern.test(text) ? Date.parse(text.replace(' ', 'T')) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

/**
 * Seconds since 1970 of a moment given as such or as RFC 3339; a part of a second counts as a whole one, since `iat`
 * knows no parts.
 * @throws OAuthError `invalid_request`, naming the field
 */
export function readMoment(field: string, at: number | string): number {
  if (typeof at === 'number') return at;
  const ms = parseMoment(at);
  if (ms !== undefined) return Math.ceil(ms / 1000);
  throw new OAuthError(
    'invalid_request',
    `${field} must be seconds since 1970 or a time such as 2026-01-31T12:00:00Z`,
  );
}
