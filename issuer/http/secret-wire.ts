import Type from 'typebox';
import type { ClientSecret } from '../secrets.ts';
import { readMoment } from './moment.ts';

/** When a secret is to end, in a request. */
export const secretEnd = Type.Union([Type.Integer(), Type.String()], {
  description: 'when the secret ends: seconds since 1970, or RFC 3339. Default: no end',
});

/** Milliseconds since 1970 of {@link secretEnd}. */
export function readSecretEnd(field: string, at: number | string | undefined): number | undefined {
  return at === undefined ? undefined : readMoment(field, at) * 1000;
}

const moment = (description: string) => Type.String({ format: 'date-time', description });

/** A secret as the API shows it: never the secret itself, nor its hash. */
export const Secret = Type.Object(
  {
    secret_id: Type.String({ description: 'names it; no part of the secret' }),
    state: Type.Enum(['live', 'ended'], { description: 'whether it proves its client' }),
    created_at: moment('when it was made'),
    expires_at: Type.Optional(moment('when it ends; not there when no end is set')),
    first_used_at: Type.Optional(moment('when it first proved its client; not there when it never did')),
    last_used_on: Type.Optional(
      Type.String({ format: 'date', description: 'the day it last proved its client, or the day before' }),
    ),
    until_new_is_used: Type.Optional(
      Type.Boolean({ description: 'whether it ends a minute after the first use of the newer one' }),
    ),
  },
  { $id: 'Secret' },
);

export function secretView(secret: ClientSecret, isLive = true) {
  return {
    secret_id: secret.secretId,
    state: isLive ? 'live' : 'ended',
    created_at: time(secret.createdAtMs),
    expires_at: time(secret.expiresAtMs),
    first_used_at: time(secret.firstUsedAtMs),
    last_used_on: time(secret.lastUsedAtMs)?.slice(0, 10),
    ...(secret.endsOnSuccession && { until_new_is_used: true }),
  };
}

/** RFC 3339. */
export function time(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}
