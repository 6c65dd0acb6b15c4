import { coapCode } from '@fleetgate/shared';
import { expect, test } from 'vitest';
import { coapTransport } from '../../agent/index.ts';
import { exchangeOverCoap } from '../../agent/transport/coap-exchange.ts';

const never = new AbortController().signal;
const request = { code: coapCode.POST, options: [], payload: Buffer.of(1) };
const endpoint = { host: 'issuer.example.com', port: 5683, name: 'coap://issuer.example.com' };

test('the deadline holds while a name is resolved', async () => {
  const exchange = exchangeOverCoap(endpoint, request, {
    signal: AbortSignal.timeout(50),
    resolve: () => new Promise(() => {}),
  });
  await expect(exchange).rejects.toMatchObject({
    code: 'token_request_failed',
    message: expect.stringContaining('no answer in time'),
  });
});

test('a stop while a name is resolved ends the request', async () => {
  const stop = new AbortController();
  const exchange = exchangeOverCoap(endpoint, request, {
    signal: stop.signal,
    resolve: () => new Promise(() => {}),
  });
  stop.abort();
  await expect(exchange).rejects.toMatchObject({ message: expect.stringContaining('stopped') });
});

test('a name that is resolved late, or not at all, after the deadline troubles nobody', async () => {
  const { promise, reject } = Promise.withResolvers<{ address: string; family: number }>();
  const signal = AbortSignal.timeout(20);
  await expect(exchangeOverCoap(endpoint, request, { signal, resolve: () => promise })).rejects.toThrow();
  reject(new Error('too late'));
  await new Promise((resolve) => setTimeout(resolve, 20));
});

test.each([
  'coap://127.0.0.1/%zz',
  'coap://127.0.0.1:0/token',
  'coap:',
  'coap:/token',
  'coap://[::1/token',
  'coap://127.0.0.1/token?a=b',
  'coap://127.0.0.1/token#a',
  'coap://user:word@127.0.0.1/token',
])('%s is no token endpoint, and no password in it is quoted', (token_endpoint) => {
  const credentials = {
    version: 1,
    client_id: 'sensor-1',
    issuer: 'http://127.0.0.1:1',
    token_endpoint,
    auth: {
      method: 'oscore',
      master_secret: '00'.repeat(16),
      sender_id: '01',
      recipient_id: '00',
      sequence_file: '/nonexistent/x',
    },
  } as const;
  let thrown: unknown;
  try {
    void coapTransport(credentials)({}, never).catch(() => {});
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toMatchObject({ code: 'credentials_invalid' });
  expect((thrown as Error).message).not.toContain('word');
});
