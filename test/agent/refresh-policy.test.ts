import { FleetgateError, OAuthError } from '@fleetgate/shared';
import { expect, test } from 'vitest';
import { refreshDelayMs, retryDelayMs, tokenFailureKind } from '../../agent/refresh-policy.ts';
import { IssuerBusyError } from '../../agent/transport/token-transport.ts';

test('a token is replaced between 70 % and 80 % of its lifetime', () => {
  expect(refreshDelayMs(1000, () => 0)).toBe(800);
  expect(refreshDelayMs(1000, () => 1)).toBeCloseTo(700);
});

test('a transient failure waits by full jitter: base 1 s, doubled, at most 60 s', () => {
  const longest = [0, 1, 5, 6, 1000].map((attempt) => retryDelayMs({ kind: 'transient', attempt }, () => 1));
  expect(longest).toEqual([1000, 2000, 32_000, 60_000, 60_000]);
  expect(retryDelayMs({ kind: 'transient', attempt: 3 }, () => 0)).toBe(0);
});

test('a refusal waits at least half its ceiling, at most 300 s', () => {
  expect(retryDelayMs({ kind: 'refused', attempt: 0 }, () => 0)).toBe(15_000);
  expect(retryDelayMs({ kind: 'refused', attempt: 1000 }, () => 1)).toBe(300_000);
});

test('Retry-After is waited for, at most an hour', () => {
  expect(retryDelayMs({ kind: 'transient', attempt: 0, retryAfterMs: 5000 }, () => 0)).toBe(5000);
  expect(retryDelayMs({ kind: 'transient', attempt: 0, retryAfterMs: 1e12 }, () => 0)).toBe(3_600_000);
});

test('a dead credential is tried after 450 s at the soonest, later at least each hour', () => {
  expect(retryDelayMs({ kind: 'dead', attempt: 0 }, () => 0)).toBe(450_000);
  expect(retryDelayMs({ kind: 'dead', attempt: 1000 }, () => 0)).toBe(1_800_000);
  expect(retryDelayMs({ kind: 'dead', attempt: 1000 }, () => 1)).toBe(3_600_000);
});

const down = new FleetgateError('token_request_failed', 'no answer in time');
const html = new FleetgateError('token_response_invalid', 'not JSON');
const unsupported = new FleetgateError('not_supported', 'oscore');
const busy = new IssuerBusyError('come back later', 5000);

test.each([
  { failure: 'nobody answers', error: down, refusals: 0, kind: 'transient' },
  { failure: 'nobody answers after a refusal', error: down, refusals: 2, kind: 'transient' },
  { failure: 'no token response', error: html, refusals: 0, kind: 'transient' },
  { failure: 'busy', error: busy, refusals: 0, kind: 'transient' },
  { failure: 'server_error', error: new OAuthError('server_error', ''), refusals: 2, kind: 'transient' },
  { failure: 'invalid_client', error: new OAuthError('invalid_client', ''), refusals: 0, kind: 'refused' },
  { failure: 'invalid_client again', error: new OAuthError('invalid_client', ''), refusals: 1, kind: 'dead' },
  { failure: 'invalid_scope', error: new OAuthError('invalid_scope', ''), refusals: 0, kind: 'refused' },
  {
    failure: 'invalid_scope again',
    error: new OAuthError('invalid_scope', ''),
    refusals: 1,
    kind: 'refused',
  },
  { failure: 'a method nobody speaks', error: unsupported, refusals: 0, kind: 'refused' },
  { failure: 'a mistake of ours', error: new TypeError('x'), refusals: 0, kind: 'transient' },
] as const)('$failure is $kind', ({ error, refusals, kind }) => {
  expect(tokenFailureKind(error, refusals)).toBe(kind);
});
