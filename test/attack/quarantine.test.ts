import { beforeEach, describe, expect, test } from 'vitest';
import { embeddedRevocations } from '../../cli/embedded-revocations.ts';
import { attack, startTestBroker, type TestBroker } from '../support/broker-fixture.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import { type IssuerFixture, issuerFixture, type RegisteredClient } from '../support/issuer-fixture.ts';
import { A, B } from './victim.ts';

describe('B cannot have A marked as in quarantine', () => {
  let fixture: IssuerFixture;
  let broker: TestBroker;
  let b: RegisteredClient;
  let tokens: Record<'a' | 'b', string>;

  const tokenOf = async (client: RegisteredClient) =>
    ((await (await fixture.tokenFor(client)).json()) as { access_token: string }).access_token;

  beforeEach(async () => {
    fixture = await issuerFixture();
    const scope = 'mqtt:publish:devices/{client_id}/# fleetgate.introspect fleetgate.revocations';
    const a = await fixture.register({ client_id: A, scope });
    b = await fixture.register({ client_id: B, scope });
    tokens = { a: await tokenOf(a), b: await tokenOf(b) };
    const { source, told } = embeddedRevocations(fixture.issuer);
    broker = await startTestBroker({
      issuers: [{ issuer: fixture.issuer.url, keys: { discover: true }, revocations: { source } }],
    });
    await told;
  });

  const revoke = (more: Record<string, string>) => {
    const { client_id, client_secret } = b;
    const body = new URLSearchParams({ client_id, client_secret, ...more });
    return fetch(`${fixture.issuer.url}/oauth/revoke`, { method: 'POST', body });
  };
  const admin = (path: string, body: object) => {
    const headers = { authorization: `Bearer ${tokens.b}` };
    return fixture.call('POST', path, body, headers);
  };

  test.each<[string, number, () => Promise<Response>]>([
    ['revoking its token', 200, () => revoke({ token: tokens.a, quarantined: 'true', kind: 'client' })],
    ['quarantining it with its own token', 401, () => admin(`/v1/clients/${A}/quarantine`, { reason: 'x' })],
    [
      'recording it with its own token',
      401,
      () => admin('/v1/revocations', { kind: 'client', client_id: A, quarantined: true }),
    ],
  ])('by %s', async (_name, status, attempt) => {
    const session = await broker.session(A, {}, tokens.a);
    expect((await attempt()).status).toBe(status);
    expect(await session.settle()).toEqual([]);
    expect(await broker.connack(A, tokens.a)).toBe(0);
    expect(await (await fixture.call('GET', '/v1/revocations')).json()).toEqual({ revocations: [] });
  });

  test('by being put into it', async () => {
    const session = await broker.session(A, {}, tokens.a);
    const own = await broker.session(B, {}, tokens.b);
    await fixture.call('POST', `/v1/clients/${B}/quarantine`, { reason: 'lost' });
    await own.closed;
    expect(await broker.connack(B, tokens.b)).toBe(5);
    expect(await session.settle()).toEqual([]);
    expect(await broker.connack(A, tokens.a)).toBe(0);
  });

  test('nor can an administrator by a revocation: the mark is of the act', async () => {
    const body = { kind: 'client', client_id: A, quarantined: true };
    expect((await fixture.call('POST', '/v1/revocations', body)).status).toBe(400);
    expect(await broker.connack(A, tokens.a)).toBe(0);
  });
});

const other = testIssuer('https://other.example');
attack(
  'the quarantine of a client of that name at another issuer is not of A',
  { otherIssuers: [other] },
  async (broker) => {
    const atSeconds = Math.floor(Date.now() / 1000);
    await broker.auth.revoke(other.name, { kind: 'client', clientId: A, atSeconds, isQuarantined: true });
    expect(await broker.connack(A, broker.token(A))).toBe(0);
    expect(await broker.connack(A, other.token({ clientId: A }))).toBe(5);
  },
);

attack(
  'fifty CONNECTs of a client in quarantine are 5, or 3 when it comes back too often',
  {},
  async (broker) => {
    const token = broker.token(B);
    const atSeconds = Math.floor(Date.now() / 1000);
    await broker.auth.revoke(broker.issuer.name, {
      kind: 'client',
      clientId: B,
      atSeconds,
      isQuarantined: true,
    });
    const codes: (number | 'closed')[] = [];
    for (let i = 0; i < 50; i += 1) codes.push(await broker.connack(B, token));
    expect(codes[0]).toBe(5);
    expect(new Set(codes).difference(new Set([5, 3]))).toEqual(new Set());
  },
);
