import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createLoginRate } from '../../broker/login-rate.ts';
import {
  FIRST_BACKOFF_MS,
  FORGET_MS,
  FREE_FAILURES,
  GOOD_STANDING_MS,
  MAX_ADDRESS_FAILURES,
  MAX_BACKOFF_MS,
} from '../../shared/attempt-rate.ts';
import { startTestBroker } from '../support/broker-fixture.ts';

const address = '192.0.2.7';

function start({ maxPairs }: { maxPairs?: number } = {}) {
  let nowMs = 1_000_000;
  const rate = createLoginRate({ monotonicMs: () => nowMs, ...(maxPairs === undefined ? {} : { maxPairs }) });
  return {
    ...rate,
    wait: (ms: number) => {
      nowMs += ms;
    },
    fail(times: number, clientId = 'device-1', from: string | undefined = address, code = 4) {
      for (let i = 0; i < times; i += 1) rate.note(from, clientId, code);
    },
  };
}

describe('a client id of an address', () => {
  test.each([2, 4, 5])('must wait after five refusals with %i', (code) => {
    const rate = start();
    rate.fail(FREE_FAILURES - 1, 'device-1', address, code);
    expect(rate.mustWait(address, 'device-1')).toBe(false);
    rate.fail(1, 'device-1', address, code);
    expect(rate.mustWait(address, 'device-1')).toBe(true);
  });

  test('does not wait for being told to come back later', () => {
    const rate = start();
    rate.fail(100, 'device-1', address, 3);
    expect(rate.mustWait(address, 'device-1')).toBe(false);
  });

  test('waits twice as long each time, a minute at most', () => {
    const rate = start();
    rate.fail(FREE_FAILURES);
    for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60, 60]) {
      rate.wait(seconds * 1000 - 1);
      expect(rate.mustWait(address, 'device-1'), `${seconds} s`).toBe(true);
      rate.wait(1);
      expect(rate.mustWait(address, 'device-1'), `${seconds} s`).toBe(false);
      rate.fail(1);
    }
  });

  test('is not made to wait longer by asking', () => {
    const rate = start();
    rate.fail(FREE_FAILURES);
    for (let i = 0; i < 1000; i += 1) rate.mustWait(address, 'device-1');
    rate.wait(FIRST_BACKOFF_MS);
    expect(rate.mustWait(address, 'device-1')).toBe(false);
  });

  test('is forgiven by a login', () => {
    const rate = start();
    rate.fail(FREE_FAILURES);
    rate.wait(FIRST_BACKOFF_MS);
    rate.note(address, 'device-1', 0);
    rate.fail(FREE_FAILURES - 1);
    expect(rate.mustWait(address, 'device-1')).toBe(false);
  });

  test('is forgotten some minutes after its last failure', () => {
    const rate = start();
    rate.fail(FREE_FAILURES + 20);
    rate.wait(FORGET_MS - 1);
    rate.fail(1);
    expect(rate.mustWait(address, 'device-1')).toBe(true);
    rate.wait(FORGET_MS);
    rate.fail(FREE_FAILURES - 1);
    expect(rate.mustWait(address, 'device-1')).toBe(false);
  });

  test('waits alone: not the client id elsewhere, nor another one there', () => {
    const rate = start();
    rate.fail(FREE_FAILURES);
    expect(rate.mustWait('192.0.2.8', 'device-1')).toBe(false);
    expect(rate.mustWait(address, 'device-2')).toBe(false);
  });

  test.each([
    ['an empty client id, which others may have too', ''],
    ['one that no CONNECT is accepted with', 'x'.repeat(10_000)],
    ['one with a separator in it', `${address} device-1`],
  ])('does not count for %s', (_what, clientId) => {
    const rate = start();
    rate.fail(FREE_FAILURES, clientId);
    expect(rate.mustWait(address, clientId)).toBe(false);
    expect(rate.mustWait(address, 'device-1')).toBe(false);
  });
});

describe('an address', () => {
  function flood(rate: ReturnType<typeof start>, from: string | undefined = address) {
    for (let i = 0; i <= MAX_ADDRESS_FAILURES; i += 1) rate.fail(1, `attacker-${i}`, from);
  }

  test('is slowed beyond 50 failures, for the rest of the second', () => {
    const rate = start();
    for (let i = 0; i < MAX_ADDRESS_FAILURES; i += 1) rate.fail(1, `attacker-${i}`);
    expect(rate.mustWait(address, 'device-1')).toBe(false);
    rate.fail(1, 'attacker');
    expect(rate.mustWait(address, 'device-1')).toBe(true);
    expect(rate.mustWait(address, '')).toBe(true);
    expect(rate.mustWait('192.0.2.8', 'device-1')).toBe(false);
    rate.wait(1_000);
    expect(rate.mustWait(address, 'device-1')).toBe(false);
  });

  test('is still served where it logged in within the hour', () => {
    const rate = start();
    rate.note(address, 'device-1', 0);
    rate.wait(GOOD_STANDING_MS - 1);
    flood(rate);
    expect(rate.mustWait(address, 'device-1')).toBe(false);
    expect(rate.mustWait(address, 'device-2')).toBe(true);
    rate.wait(1);
    expect(rate.mustWait(address, 'device-1')).toBe(true);
  });

  test('good standing is of an address', () => {
    const rate = start();
    rate.note('192.0.2.8', 'device-1', 0);
    flood(rate);
    expect(rate.mustWait(address, 'device-1')).toBe(true);
  });

  test('unknown is not slowed: all streams without one would be', () => {
    const rate = start();
    flood(rate, undefined);
    expect(rate.mustWait(undefined, 'device-1')).toBe(false);
  });
});

describe('memory is bounded', () => {
  test('and the oldest failures are dropped first', () => {
    const rate = start({ maxPairs: 10 });
    rate.fail(FREE_FAILURES, 'first');
    rate.fail(FREE_FAILURES, 'second');
    rate.wait(10);
    rate.fail(1, 'first');
    for (let i = 0; i < 9; i += 1) rate.fail(1, `more-${i}`, '192.0.2.8');
    expect(rate.mustWait(address, 'first')).toBe(true);
    expect(rate.mustWait(address, 'second')).toBe(false);
  });

  test('and failures do not push out good standing', () => {
    const rate = start({ maxPairs: 10 });
    rate.note(address, 'device-1', 0);
    for (let i = 0; i < 1000; i += 1) rate.fail(1, `attacker-${i}`);
    expect(rate.mustWait(address, 'device-1')).toBe(false);
    expect(rate.mustWait(address, 'device-2')).toBe(true);
  });
});

test('below 50 failures a second no other client id of the address ever waits', () => {
  const bad = fc.record({
    clientId: fc.integer({ min: 0, max: 20 }).map((n) => `bad-${n}`),
    code: fc.constantFrom(2, 4, 5),
    pauseMs: fc.integer({ min: 0, max: 100 }),
  });
  fc.assert(
    fc.property(
      fc.array(bad, { maxLength: 300 }),
      fc.constantFrom(address, '2001:db8::1'),
      (attempts, from) => {
        const rate = start();
        const recent: number[] = [];
        let nowMs = 0;
        for (const { clientId, code, pauseMs } of attempts) {
          rate.wait(pauseMs);
          nowMs += pauseMs;
          while (recent.length > 0 && nowMs - (recent[0] as number) >= 1_000) recent.shift();
          if (recent.length < MAX_ADDRESS_FAILURES && !rate.mustWait(from, clientId)) {
            rate.fail(1, clientId, from, code);
            recent.push(nowMs);
          }
          expect(rate.mustWait(from, 'device-1')).toBe(false);
        }
      },
    ),
  );
});

test('no wait is longer than a minute, whatever came before', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 120_000 }), { maxLength: 100 }), (pauses) => {
      const rate = start();
      for (const pause of pauses) {
        rate.wait(pause);
        rate.fail(1);
      }
      rate.wait(MAX_BACKOFF_MS);
      expect(rate.mustWait(address, 'device-1')).toBe(false);
    }),
  );
});

describe('a broker', () => {
  test('answers 3 after five refusals, a good token too, and others as ever', async () => {
    const broker = await startTestBroker();
    for (let i = 0; i < FREE_FAILURES; i += 1) expect(await broker.connack('device-1', 'x.y.z')).toBe(4);
    expect(await broker.connack('device-1', broker.token('device-1'))).toBe(3);
    expect(await broker.refusal({ reason: 'login_backoff' })).toMatchObject({
      action: 'connect',
      returnCode: 3,
      address: '127.0.0.1',
      presentedClientId: 'device-1',
      lastReason: 'token_malformed',
    });
    expect(await broker.connack('device-1', 'x.y.z', { clean: true })).toBe(3);
    expect(broker.refusals.at(-1)).toMatchObject({ reason: 'login_backoff', lastReason: 'token_malformed' });
    expect(await broker.connack('device-2', broker.token('device-2'))).toBe(0);
  });

  test('does not verify a token meanwhile', async () => {
    let asked = 0;
    const broker = await startTestBroker({
      issuers: [
        {
          issuer: 'https://issuer.example',
          keys: {
            jwks: () => {
              asked += 1;
              return { keys: [] };
            },
          },
        },
      ],
    });
    for (let i = 0; i < FREE_FAILURES; i += 1) {
      expect(await broker.connack('device-1', broker.token('device-1'))).toBe(4);
    }
    const before = asked;
    expect(before).toBeGreaterThan(0);
    expect(await broker.connack('device-1', broker.token('device-1'))).toBe(3);
    expect(asked).toBe(before);
  });

  test('lets a device in again when its wait is over', async () => {
    const broker = await startTestBroker();
    for (let i = 0; i < FREE_FAILURES; i += 1) expect(await broker.connack('device-1', 'x.y.z')).toBe(4);
    const startedAt = performance.now();
    let code: number | 'closed' = 3;
    while (code === 3) code = await broker.connack('device-1', broker.token('device-1'));
    expect(code).toBe(0);
    expect(performance.now() - startedAt).toBeGreaterThan(500);
  });

  test('keeps the session of a device in whose name others fail', async () => {
    const broker = await startTestBroker();
    const device = await broker.session('device-1');
    for (let i = 0; i < 10; i += 1) await broker.connack('device-1', 'x.y.z');
    expect(await device.settle()).toEqual([]);
  });
});
