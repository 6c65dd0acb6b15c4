import { expect, test } from 'vitest';
import { connectionFailure } from '../../agent/connection-failure.ts';

const failure = (code: string) => Object.assign(new Error('what OpenSSL says'), { code });

test('a certificate of an unknown authority is told with what makes it known', () => {
  const text = connectionFailure(failure('SELF_SIGNED_CERT_IN_CHAIN'), 'broker.ca_file');
  expect(text).toBe('what OpenSSL says; an authority of your own is named by broker.ca_file');
});

test.each(['CERT_HAS_EXPIRED', 'ERR_TLS_CERT_ALTNAME_INVALID', 'ECONNREFUSED'])(
  'trusting more is no advice for %s',
  (code) => {
    expect(connectionFailure(failure(code))).toBe('what OpenSSL says');
  },
);

test('an error without a message is told by its code', () => {
  expect(connectionFailure(Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' }))).toBe(
    'ECONNREFUSED',
  );
  expect(connectionFailure(undefined)).toBe('unknown reason');
});
