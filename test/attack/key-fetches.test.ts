import { describe, expect, test } from 'vitest';
import { startTestBroker } from '../support/broker-fixture.ts';
import { connackOf, connectPacket } from '../support/broker-raw-client.ts';
import { type TestIssuer, testIssuer } from '../support/broker-tokens.ts';
import { type Answer, httpServer, jsonServer } from '../support/verifier-fixture.ts';

const CLIENTS = 150;

/** Where nobody may ask. */
async function trap() {
  const { origin, requests } = await jsonServer(() => ({ body: testIssuer().jwks() }));
  return { url: `${origin}/keys`, hits: () => requests.length };
}

/** Headers a flood can choose from; of each token another one. */
function headerOf(issuer: TestIssuer, url: string, n: number): Record<string, unknown> {
  const headers = [
    { kid: issuer.kid },
    { kid: `made-up-${n}` },
    { kid: `${url}?${n}`, jku: url, x5u: url },
    { kid: issuer.kid, jku: `${url}/${n}`, jwk: testIssuer().jwks().keys[0] },
    { kid: issuer.kid, alg: 'EdDSA' },
  ];
  return headers[n % headers.length] as Record<string, unknown>;
}

/** How many fetches there can have been: each takes `fetchMs` and fails, and the pauses after it double from a second. */
function fetchesWithin(elapsedMs: number, fetchMs: number): number {
  let count = 0;
  let pauseMs = 1_000;
  for (let atMs = 0; atMs <= elapsedMs; atMs += fetchMs + pauseMs, pauseMs *= 2) count += 1;
  return count;
}

/** Everybody at once, as client `remote-<n>`: the return codes. */
async function flood(
  broker: Awaited<ReturnType<typeof startTestBroker>>,
  issuer: TestIssuer,
  url: string,
): Promise<(number | 'closed')[]> {
  return Promise.all(
    Array.from({ length: CLIENTS }, async (_, n) => {
      const clientId = `remote-${n}`;
      const token = issuer.token({ clientId, header: headerOf(issuer, url, n) });
      return connackOf(await broker.raw(), connectPacket(clientId, token));
    }),
  );
}

describe('a flood of CONNECTs while an issuer is away makes one fetch of its keys in each pause', () => {
  test.each<[string, Answer | undefined]>([
    ['answers 503', { status: 503 }],
    ['hangs up', undefined],
  ])('and is told to come back later, when it %s', async (_how, answer) => {
    const issuer = testIssuer('https://remote.example');
    const server = await jsonServer(() => answer);
    const { url, hits } = await trap();
    const keys = { jwksUri: `${server.origin}/jwks.json` };
    const broker = await startTestBroker({ remoteIssuers: [{ issuer: issuer.name, keys }] });
    const startMs = performance.now();
    const codes = await flood(broker, issuer, url);
    const elapsedMs = performance.now() - startMs;
    expect(new Set(codes)).toEqual(new Set([3]));
    expect(new Set(broker.refusals.map(({ reason }) => reason))).toEqual(new Set(['keys_unavailable']));
    expect(server.requests.length).toBeGreaterThan(0);
    expect(server.requests.length).toBeLessThanOrEqual(fetchesWithin(elapsedMs, 0));
    expect(hits()).toBe(0);
    await broker.servesOthers();
  });

  test('and others are served meanwhile, when it does not answer', async () => {
    const issuer = testIssuer('https://remote.example');
    const server = await httpServer(() => {});
    const { url, hits } = await trap();
    const keys = { jwksUri: `${server.origin}/jwks.json` };
    const broker = await startTestBroker({ remoteIssuers: [{ issuer: issuer.name, keys }] });
    const startMs = performance.now();
    const flooding = flood(broker, issuer, url);
    await broker.servesOthers();
    expect(new Set(await flooding)).toEqual(new Set([3]));
    // Given up after five seconds, most likely the only one.
    expect(server.requests.length).toBeLessThanOrEqual(fetchesWithin(performance.now() - startMs, 5_000));
    expect(hits()).toBe(0);
  });

  test('and clients whose key is known get in all the same', async () => {
    const issuer = testIssuer('https://remote.example');
    let isAway = false;
    const server = await jsonServer(() => (isAway ? { status: 503 } : { body: issuer.jwks() }));
    const { url, hits } = await trap();
    const keys = { jwksUri: `${server.origin}/jwks.json` };
    const broker = await startTestBroker({ remoteIssuers: [{ issuer: issuer.name, keys }] });
    const connack = (clientId: string) => broker.connack(clientId, issuer.token({ clientId }));
    expect(await connack('first')).toBe(0);
    isAway = true;
    const codes = await flood(broker, issuer, url);
    // A made-up kid is a wrong token; beyond fifty in a second its address has to wait.
    expect(codes.filter((code) => code !== 0 && code !== 3 && code !== 4)).toEqual([]);
    expect(await connack('first')).toBe(0);
    // No second one within 30 s of the set that came.
    expect(server.requests).toHaveLength(1);
    expect(hits()).toBe(0);
    await broker.servesOthers();
  });
});
