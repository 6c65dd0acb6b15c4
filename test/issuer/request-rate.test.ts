import { Agent, request } from 'node:http';
import { addressKey, createAttemptRate } from '@fleetgate/shared';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createRequestRate } from '../../issuer/request-rate.ts';
import { rowsOf } from '../support/database.ts';
import { type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';

const limits = { maxClientTokensPerSecond: 2, maxAddressRequestsPerSecond: 10 };
const from = (clientId?: string, address = '192.0.2.1') => ({ address, clientId });

function start() {
  let nowMs = 5000;
  const rate = createRequestRate(limits, () => nowMs);
  return {
    ...rate,
    pass: (ms: number) => {
      nowMs += ms;
    },
    tokens(count: number, clientId: string, address?: string) {
      for (let i = 0; i < count; i += 1) rate.note(from(clientId, address), 'token');
    },
    fail(count: number, clientId: string | undefined, address?: string) {
      for (let i = 0; i < count; i += 1) rate.note(from(clientId, address), 'unproven');
    },
  };
}

describe('a client', () => {
  test('waits after five seconds of its rate at once, at any address, and goes on at its rate', () => {
    const rate = start();
    rate.tokens(10, 'a');
    expect(rate.tokenWaitMs(from('a'))).toBe(500);
    expect(rate.tokenWaitMs(from('a', '198.51.100.1'))).toBe(500);
    expect(rate.tokenWaitMs(from('b'))).toBe(0);
    rate.pass(500);
    expect(rate.tokenWaitMs(from('a'))).toBe(0);
    rate.tokens(1, 'a');
    expect(rate.tokenWaitMs(from('a'))).toBe(500);
    rate.pass(5000);
    rate.tokens(9, 'a');
    expect(rate.tokenWaitMs(from('a'))).toBe(0);
  });

  test('loses nothing of its rate to those who fail in its name', () => {
    const rate = start();
    rate.fail(40, 'a', '203.0.113.9');
    expect(rate.tokenWaitMs(from('a', '203.0.113.9'))).toBeGreaterThan(0);
    expect(rate.tokenWaitMs(from('a'))).toBe(0);
    rate.tokens(9, 'a');
    expect(rate.tokenWaitMs(from('a'))).toBe(0);
  });

  test('that has had a token there goes on while its neighbours fail in its name', () => {
    const rate = start();
    rate.tokens(1, 'a');
    rate.fail(60, 'a');
    expect(rate.tokenWaitMs(from('a'))).toBe(0);
    expect(rate.proofWaitMs(from('a'))).toBe(0);
    expect(rate.tokenWaitMs(from('b'))).toBeGreaterThan(0);
  });
});

describe('an address', () => {
  test('waits after five seconds of its rate at once, whoever it names, and others are served', () => {
    const rate = start();
    for (let i = 0; i < 50; i += 1) expect(rate.tokenWaitMs(from(`c${i}`))).toBe(0);
    expect(rate.tokenWaitMs(from('a'))).toBe(100);
    expect(rate.tokenWaitMs(from('a', '192.0.2.2'))).toBe(0);
    rate.pass(100);
    expect(rate.tokenWaitMs(from('a'))).toBe(0);
  });

  test('of IPv6 is counted by its /64', () => {
    const rate = start();
    for (let i = 0; i < 50; i += 1) rate.tokenWaitMs(from('a', `2001:db8::${i.toString(16)}`));
    expect(rate.tokenWaitMs(from('a', '2001:db8::ffff'))).toBeGreaterThan(0);
    expect(rate.tokenWaitMs(from('a', '2001:db8:0:1::1'))).toBe(0);
    expect(addressKey('64:ff9b::192.0.2.1')).toBe(addressKey('64:ff9b::1'));
  });

  test('that has none, as of a socket that is gone, has no limit', () => {
    const rate = start();
    for (let i = 0; i < 100; i += 1)
      expect(rate.tokenWaitMs({ address: undefined, clientId: `c${i}` })).toBe(0);
  });
});

test('what is remembered of failures is bounded', () => {
  const rate = createAttemptRate({ monotonicMs: () => 0, maxPairs: 100 });
  for (let i = 0; i < 5; i += 1) rate.note('x', 'a', false);
  expect(rate.waitMs('x', 'a')).toBeGreaterThan(0);
  for (let i = 0; i < 100; i += 1) rate.note(`y${i}`, 'b', false);
  expect(rate.waitMs('x', 'a')).toBe(0);
});

describe('over HTTP', () => {
  /** A token request from one of the addresses of loopback. */
  function ask(fixture: IssuerFixture, localAddress: string, clientId: string, secret: string) {
    const agent = new Agent({ keepAlive: true });
    onTestFinished(() => agent.destroy());
    const body = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: clientId,
      client_secret: secret,
    }).toString();
    return new Promise<{ status: number; retryAfter: string | undefined; body: unknown }>(
      (answered, failed) => {
        const sent = request(
          `${fixture.issuer.url}/oauth/token`,
          {
            method: 'POST',
            localAddress,
            agent,
            headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length },
          },
          (response) => {
            let text = '';
            response.setEncoding('utf8').on('data', (chunk) => {
              text += chunk;
            });
            response.on('end', () =>
              answered({
                status: response.statusCode ?? 0,
                retryAfter: response.headers['retry-after'],
                body: JSON.parse(text),
              }),
            );
          },
        );
        sent.on('error', failed).end(body);
      },
    );
  }

  async function rows(fixture: IssuerFixture) {
    return rowsOf<{ result: string; target: string | null; address: string }>(
      fixture.database,
      "SELECT result, target, address FROM audit WHERE action = 'token.issue'",
    );
  }

  test('who guesses secrets is told to slow down, and the right one is served from its own address', async () => {
    const fixture = await issuerFixture();
    const { client_secret: secret } = await fixture.register({ client_id: 'a' });
    const statuses: number[] = [];
    for (let i = 0; i < 5; i += 1) statuses.push((await ask(fixture, '127.0.0.2', 'a', 'wrong')).status);
    expect(statuses).toEqual([401, 401, 401, 401, 401]);
    const told = await ask(fixture, '127.0.0.2', 'a', 'wrong');
    expect(told).toMatchObject({ status: 429, retryAfter: '1', body: { error: 'slow_down' } });
    // Nor is the right secret told from a wrong one meanwhile.
    expect((await ask(fixture, '127.0.0.2', 'a', secret)).status).toBe(429);
    expect((await ask(fixture, '127.0.0.3', 'a', secret)).status).toBe(200);
    // A client that has been served there goes on.
    for (let i = 0; i < 10; i += 1) await ask(fixture, '127.0.0.3', 'a', 'wrong');
    expect((await ask(fixture, '127.0.0.3', 'a', secret)).status).toBe(200);
  });

  test('one address that floods is limited, leaves one row of it, and the others are served', async () => {
    const fixture = await issuerFixture({ limits: { maxAddressRequestsPerSecond: 4 } });
    const { client_secret: secret } = await fixture.register({ client_id: 'a' });
    const flood = await Promise.all(
      Array.from({ length: 100 }, (_, i) => ask(fixture, '127.0.0.2', `nobody-${i}`, 'x')),
    );
    const limited = flood.filter(({ status }) => status === 429);
    expect(limited.length).toBeGreaterThan(60);
    expect((await ask(fixture, '127.0.0.3', 'a', secret)).status).toBe(200);
    const recorded = await rows(fixture);
    expect(recorded.filter(({ result }) => result === 'slow_down')).toMatchObject([{ address: '127.0.0.2' }]);
    expect(recorded.length).toBe(flood.length - limited.length + 2);
  });

  test('requests that are malformed count as well, and leave few rows', async () => {
    const fixture = await issuerFixture();
    const statuses = await Promise.all(
      Array.from(
        { length: 200 },
        async () =>
          (
            await fixture.requestToken('grant_type=a&grant_type=b', {
              'content-type': 'application/x-www-form-urlencoded',
            })
          ).status,
      ),
    );
    expect(new Set(statuses)).toEqual(new Set([400, 429]));
    expect((await rows(fixture)).length).toBeLessThan(200);
  });

  test('a client over its rate is told to slow down, and another is served', async () => {
    const fixture = await issuerFixture({ limits: { maxClientTokensPerSecond: 0.4 } });
    const [a, b] = await Promise.all([
      fixture.register({ client_id: 'a' }),
      fixture.register({ client_id: 'b' }),
    ]);
    for (let i = 0; i < 2; i += 1) expect((await fixture.tokenFor(a)).status).toBe(200);
    const told = await fixture.tokenFor(a);
    expect([told.status, told.headers.get('retry-after')]).toEqual([429, '3']);
    expect(told.headers.get('cache-control')).toBe('no-store');
    expect((await fixture.tokenFor(b)).status).toBe(200);
  });

  describe('what leaves a row in the audit trail has a limit', () => {
    const basic = (id: string, secret: string) => `Basic ${btoa(`${id}:${secret}`)}`;
    // Of a client that never waits for its failures, as it is in good standing there.
    const floods: [string, string, Record<string, string>, (secret: string) => string][] = [
      ['introspection by two methods at once', 'introspect', { client_secret: 'x' }, () => basic('a', 'x')],
      ['revocation by two methods at once', 'revoke', { client_secret: 'x' }, () => basic('a', 'x')],
      ['revocation of what is no token', 'revoke', { token: 'x' }, (secret) => basic('a', secret)],
      ['introspection of nothing', 'introspect', {}, (secret) => basic('a', secret)],
      ['introspection with a wrong secret', 'introspect', { token: 'x' }, () => basic('a', 'wrong')],
    ];
    test.each(floods)('%s', async (_name, act, parameters, authorization) => {
      const fixture = await issuerFixture({ limits: { maxAddressRequestsPerSecond: 4 } });
      const client = await fixture.register({ client_id: 'a' });
      expect((await fixture.tokenFor(client)).status).toBe(200);
      const statuses: number[] = [];
      // One after the other: introspection counts when it was refused.
      for (let i = 0; i < 100; i += 1) {
        const response = await fetch(`${fixture.issuer.url}/oauth/${act}`, {
          method: 'POST',
          headers: { authorization: authorization(client.client_secret) },
          body: new URLSearchParams({ client_id: 'a', ...parameters }),
        });
        statuses.push(response.status);
        await response.arrayBuffer();
      }
      expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(60);
      const recorded = await rowsOf(
        fixture.database,
        `SELECT sequence FROM audit WHERE action = 'token.${act}'`,
      );
      expect(recorded.length).toBeLessThan(40);
    });
  });

  test('answers to introspection have none', async () => {
    const fixture = await issuerFixture({
      limits: { maxAddressRequestsPerSecond: 4, maxClientTokensPerSecond: 4 },
    });
    const client = await fixture.register({ client_id: 'a' });
    const statuses = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const response = await fetch(`${fixture.issuer.url}/oauth/introspect`, {
          method: 'POST',
          headers: { authorization: `Basic ${btoa(`a:${client.client_secret}`)}` },
          body: new URLSearchParams({ token: 'x' }),
        });
        return response.status;
      }),
    );
    expect(new Set(statuses)).toEqual(new Set([200]));
  });
});
