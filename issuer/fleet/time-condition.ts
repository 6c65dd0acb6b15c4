import { OAuthError } from '@fleetgate/shared';

/** What a selector says of times, by field, with how it is written. */
export const timeFields = {
  expires: 'expires<7d, expires or !expires',
  expired: 'expired or !expired',
  last_seen: 'last_seen<7d, last_seen>30d, last_seen or !last_seen',
} as const;
export type TimeField = keyof typeof timeFields;

/**
 * A condition on times of a client, seen from now:
 *
 * - `expires<7d`: a live secret of it ends within seven days; `expires`: one ends at all
 * - `expired`: it had secrets, and each has ended
 * - `last_seen>30d`: its last token was issued longer ago than that, for certain (it is known to the day, see
 *   `LAST_USE_GRANULARITY_MS`); `last_seen<30d`: not that long ago; `last_seen`: it had a token at all
 */
export interface TimeCondition {
  readonly subject: TimeField;
  readonly operator: 'less' | 'more' | 'present' | 'absent';
  /** 0 for `present` and `absent`. */
  readonly durationMs: number;
}

const unitMs: ReadonlyMap<string, number> = new Map([
  ['h', 3_600_000],
  ['d', 86_400_000],
  ['w', 604_800_000],
]);

export const isTimeField = (name: string): name is TimeField => Object.hasOwn(timeFields, name);

/** @throws OAuthError `invalid_request`, saying how it is to be written */
export function timeComparison(name: string, operator: 'less' | 'more', value: string): TimeCondition {
  if (!isTimeField(name)) {
    return invalid(`'${name.slice(0, 64)}' is no time; < and > go with expires and last_seen`);
  }
  if (name === 'expired' || (name === 'expires' && operator === 'more')) {
    invalid(`${name} is written ${timeFields[name]}`);
  }
  const [, count, unit = ''] = /^(\d{1,4})([hdw])$/.exec(value) ?? [];
  if (count === undefined) invalid(`${name} is compared with a duration such as 12h, 7d or 4w`);
  if (name === 'last_seen' && unit === 'h') invalid('last_seen is known to the day; write it in d or w');
  return { subject: name, operator, durationMs: Number(count) * (unitMs.get(unit) as number) };
}

export const timePresence = (subject: TimeField, operator: 'present' | 'absent'): TimeCondition => ({
  subject,
  operator,
  durationMs: 0,
});

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
