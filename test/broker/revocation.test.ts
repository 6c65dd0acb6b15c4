import { describe, expect, test } from 'vitest';
import { createRevocations, type Revocation } from '../../broker/revocation.ts';
import type { RevocationListener } from '../../broker/revocation-source.ts';
import type { VerifiedToken } from '../../verifier/verified-token.ts';
import {
  attack,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
  type TestBrokerOptions,
} from '../support/broker-fixture.ts';
import { type TestIssuer, testIssuer } from '../support/broker-tokens.ts';

const issuer = 'https://issuer.example';
const token = (more: Partial<VerifiedToken> = {}): VerifiedToken => ({
  clientId: 'a',
  issuer,
  tokenId: 'one',
  keyId: 'k',
  issuedAtSeconds: 1000,
  expiresAtSeconds: 1600,
  scopes: [],
  claims: {},
  ...more,
});

function list(maxRows?: number) {
  const clock = { seconds: 2000 };
  const revocations = createRevocations({
    maxLifetimeSeconds: 3600,
    clockSkewSeconds: 5,
    now: () => clock.seconds * 1000,
    ...(maxRows === undefined ? {} : { maxRows }),
  });
  return { revocations, clock };
}

describe('what is revoked', () => {
  test.each<[string, Revocation, Partial<VerifiedToken>, boolean]>([
    ['a token by its id', { kind: 'token', tokenId: 'one' }, {}, true],
    ['not another token', { kind: 'token', tokenId: 'two' }, {}, false],
    ['a client up to that second', { kind: 'client', clientId: 'a', atSeconds: 1000 }, {}, true],
    ['not what it got later', { kind: 'client', clientId: 'a', atSeconds: 999 }, {}, false],
    ['not another client', { kind: 'client', clientId: 'b', atSeconds: 1000 }, {}, false],
    [
      'not a client whose name begins so',
      { kind: 'client', clientId: 'a', atSeconds: 1000 },
      { clientId: 'aa' },
      false,
    ],
    ['issued before, of one client', { kind: 'issued_before', clientId: 'a', atSeconds: 1001 }, {}, true],
    ['not issued in that second', { kind: 'issued_before', clientId: 'a', atSeconds: 1000 }, {}, false],
    ['issued before, of all', { kind: 'issued_before', atSeconds: 1001 }, {}, true],
    ['a key', { kind: 'key', keyId: 'k' }, {}, true],
    ['not another key', { kind: 'key', keyId: 'j' }, {}, false],
    ['not what another issuer gave', { kind: 'token', tokenId: 'one' }, { issuer: 'https://other' }, false],
    ['everything, by a kind nobody knows', { kind: 'tribe' } as unknown as Revocation, {}, true],
    ['everything, by a token without an id', { kind: 'token' } as unknown as Revocation, {}, true],
    ['everything, by a key without an id', { kind: 'key' } as unknown as Revocation, {}, true],
    ['everything, by a moment that is none', { kind: 'issued_before', atSeconds: Number.NaN }, {}, true],
    ['everything, by a client of no moment', { kind: 'client', clientId: 'b' } as Revocation, {}, true],
  ])('%s', (_what, revocation, more, expected) => {
    const { revocations } = list();
    revocations.add(issuer, revocation);
    expect(revocations.revokedAs(token(more))).toBe(expected ? 'token_revoked' : undefined);
  });

  test('an earlier moment does not take a later one back', () => {
    const { revocations } = list();
    revocations.add(issuer, { kind: 'client', clientId: 'a', atSeconds: 1000 });
    revocations.add(issuer, { kind: 'client', clientId: 'a', atSeconds: 10 });
    expect(revocations.revokedAs(token())).toBe('token_revoked');
    const later = token({ issuedAtSeconds: 5000 });
    revocations.add(issuer, { kind: 'client', clientId: 'a', atSeconds: 5000 });
    revocations.add(issuer, { kind: 'client', clientId: 'a', atSeconds: Number.NaN });
    expect(revocations.revokedAs(later)).toBe('token_revoked');
  });

  test('a row goes when every token it could meet has expired', () => {
    const { revocations, clock } = list(4);
    for (const tokenId of ['1', '2', '3']) revocations.add(issuer, { kind: 'token', tokenId });
    clock.seconds += 3700;
    for (const tokenId of ['4', '5']) revocations.add(issuer, { kind: 'token', tokenId });
    expect(revocations.size).toBe(2);
    expect(revocations.revokedAs(token({ tokenId: '5', issuedAtSeconds: clock.seconds }))).toBe(
      'token_revoked',
    );
    expect(revocations.revokedAs(token({ tokenId: '6', issuedAtSeconds: clock.seconds }))).toBeUndefined();
  });

  test('beyond the bound all tokens issued so far are revoked, rather than one that was forgotten', () => {
    const { revocations, clock } = list(3);
    for (let n = 0; n < 4; n += 1) revocations.add(issuer, { kind: 'token', tokenId: `${n}` });
    expect(revocations.revokedAs(token({ tokenId: 'other', issuedAtSeconds: clock.seconds }))).toBe(
      'token_revoked',
    );
    expect(
      revocations.revokedAs(token({ tokenId: 'later', issuedAtSeconds: clock.seconds + 60 })),
    ).toBeUndefined();
    expect(revocations.size).toBeLessThanOrEqual(3);
  });
});

describe('a quarantine', () => {
  const at = (atSeconds: number, clientId = 'a'): Revocation => ({ kind: 'client', clientId, atSeconds });
  const quarantine = (atSeconds: number): Revocation => ({
    kind: 'client',
    clientId: 'a',
    atSeconds,
    isQuarantined: true,
  });
  const both = [quarantine(1000), at(1000)];

  test.each<[string, Revocation[], Partial<VerifiedToken>, string | undefined]>([
    ['is told apart', [quarantine(1000)], {}, 'client_quarantined'],
    ['is not of what was issued later', [quarantine(999)], {}, undefined],
    ['is not of another client', [quarantine(1000)], { clientId: 'b' }, undefined],
    ['is not of another issuer', [quarantine(1000)], { issuer: 'https://other' }, undefined],
    ['counts though the client is revoked as well', both, {}, 'client_quarantined'],
    ['counts though the client was revoked before', both.toReversed(), {}, 'client_quarantined'],
    [
      'counts though the token is revoked as well',
      [quarantine(1000), { kind: 'token', tokenId: 'one' }],
      {},
      'client_quarantined',
    ],
    ['does not reach as far as a later revocation', [quarantine(999), at(1000)], {}, 'token_revoked'],
    ['is not what another mark makes', [{ ...at(1000), isQuarantined: 'yes' } as never], {}, 'token_revoked'],
    ['of no moment takes back everything', [quarantine(Number.NaN)], { clientId: 'b' }, 'token_revoked'],
  ])('%s', (_what, all, more, expected) => {
    const { revocations } = list();
    for (const one of all) revocations.add(issuer, one);
    expect(revocations.revokedAs(token(more))).toBe(expected);
  });

  test('is a row that goes with the last token it could meet, and is counted', () => {
    const { revocations, clock } = list(2);
    revocations.add(issuer, quarantine(clock.seconds));
    expect(revocations.size).toBe(1);
    clock.seconds += 3700;
    for (const tokenId of ['1', '2']) revocations.add(issuer, { kind: 'token', tokenId });
    expect(revocations.size).toBe(2);
    expect(revocations.revokedAs(token({ issuedAtSeconds: 2000 }))).toBeUndefined();
  });
});

const jtiOf = (text: string): string =>
  JSON.parse(Buffer.from(text.split('.')[1] as string, 'base64url').toString()).jti;
const nowSeconds = () => Math.floor(Date.now() / 1000);

describe('a session ends when its token is revoked, and its token is refused', () => {
  const kinds: [string, (broker: TestBroker, token: string) => Revocation][] = [
    ['by token', (_broker, text) => ({ kind: 'token', tokenId: jtiOf(text) })],
    ['by client', () => ({ kind: 'client', clientId: 'device-1', atSeconds: nowSeconds() })],
    ['by moment', () => ({ kind: 'issued_before', clientId: 'device-1', atSeconds: nowSeconds() + 1 })],
    ['by key', (broker) => ({ kind: 'key', keyId: broker.issuer.kid })],
    ['all of them', () => ({ kind: 'issued_before', atSeconds: nowSeconds() + 1 })],
  ];
  test.each(kinds)('%s', async (_kind, revocationOf) => {
    const broker = await startTestBroker();
    const text = broker.token('device-1');
    const client = await broker.session('device-1', {}, text);
    await broker.auth.revoke(broker.issuer.name, revocationOf(broker, text));
    await client.closed;
    expect(await broker.refusal({ action: 'session' })).toMatchObject({
      reason: 'token_revoked',
      clientId: 'device-1',
    });
    expect(await broker.connack('device-1', text)).toBe(4);
    expect(await broker.refusal({ action: 'connect' })).toMatchObject({ reason: 'token_revoked' });
  });

  test('and no other session', async () => {
    const broker = await startTestBroker();
    const other = await broker.session('device-2');
    const client = await broker.session('device-1');
    await broker.auth.revoke(broker.issuer.name, {
      kind: 'client',
      clientId: 'device-1',
      atSeconds: nowSeconds(),
    });
    await client.closed;
    expect(await other.settle()).toEqual([]);
    await broker.servesOthers();
  });

  test('and a new token is as good as before', async () => {
    const broker = await startTestBroker();
    const at = nowSeconds() - 10;
    await broker.auth.revoke(broker.issuer.name, { kind: 'client', clientId: 'device-1', atSeconds: at });
    expect(await broker.connack('device-1', broker.token('device-1'))).toBe(0);
  });

  test('and its will, which is within its grants, is published', async () => {
    const broker = await startTestBroker();
    const scope = ['mqtt:subscribe:devices/#'];
    const watcher = await broker.session('watcher', {}, broker.token('watcher', { scope }));
    await subscribe(watcher, ['devices/#']);
    const will = {
      topic: 'devices/device-1/state',
      payload: Buffer.from('gone'),
      qos: 1 as const,
      retain: false,
    };
    const client = await broker.session('device-1', { will });
    await broker.auth.revoke(broker.issuer.name, {
      kind: 'client',
      clientId: 'device-1',
      atSeconds: nowSeconds(),
    });
    await client.closed;
    expect(payloads([await watcher.next('publish')])).toEqual(['gone']);
  });
});

describe('a client that is put into quarantine', () => {
  const quarantine = (broker: TestBroker, atSeconds = nowSeconds()) =>
    broker.auth.revoke(broker.issuer.name, {
      kind: 'client',
      clientId: 'device-1',
      atSeconds,
      isQuarantined: true,
    });

  test('is cut off, and told that it is not allowed', async () => {
    const broker = await startTestBroker();
    const text = broker.token('device-1');
    const client = await broker.session('device-1', {}, text);
    await quarantine(broker);
    await client.closed;
    const reason = 'client_quarantined';
    expect(await broker.refusal({ action: 'session' })).toMatchObject({ reason, clientId: 'device-1' });
    expect(await broker.connack('device-1', text)).toBe(5);
    expect(await broker.refusal({ action: 'connect' })).toMatchObject({ reason, returnCode: 5 });
  });

  test('cannot renew a session with a token from before', async () => {
    const broker = await startTestBroker();
    const iat = nowSeconds() + 2;
    const client = await broker.session('device-1', {}, broker.token('device-1', { claims: { iat } }));
    await quarantine(broker);
    client.send(publishPacket('$fleetgate/token', broker.token('device-1'), { qos: 1 }));
    await client.next('puback');
    expect(await broker.refusal({ action: 'renewal' })).toMatchObject({ reason: 'client_quarantined' });
    expect(await client.settle()).toEqual([]);
  });

  test('gets in with what it was issued later, and a later revocation is no quarantine', async () => {
    const broker = await startTestBroker();
    const text = broker.token('device-1');
    await quarantine(broker, nowSeconds() - 10);
    expect(await broker.connack('device-1', text)).toBe(0);
    await broker.auth.revoke(broker.issuer.name, {
      kind: 'client',
      clientId: 'device-1',
      atSeconds: nowSeconds(),
    });
    expect(await broker.connack('device-1', text)).toBe(4);
  });
});

attack('a session renewed with another token is not ended by the old one', {}, async (broker) => {
  const first = broker.token('device-1');
  const client = await broker.session('device-1', {}, first);
  client.send(publishPacket('$fleetgate/token', broker.token('device-1'), { qos: 1 }));
  await client.next('puback');
  await broker.auth.revoke(broker.issuer.name, { kind: 'token', tokenId: jtiOf(first) });
  expect(await client.settle()).toEqual([]);
});

attack('a session cannot be renewed with a revoked token', {}, async (broker) => {
  const client = await broker.session('device-1');
  const next = broker.token('device-1');
  await broker.auth.revoke(broker.issuer.name, { kind: 'token', tokenId: jtiOf(next) });
  client.send(publishPacket('$fleetgate/token', next, { qos: 1 }));
  await client.next('puback');
  expect(await broker.refusal({ action: 'renewal' })).toMatchObject({ reason: 'token_revoked' });
  expect(await client.settle()).toEqual([]);
});

attack('a token revoked while its CONNECT waits in line does not get in', {}, async (broker) => {
  const held = await broker.session('device-1');
  const text = broker.token('device-1');
  const { persistence } = broker.aedes as unknown as {
    persistence: { subscriptionsByClient(client: object): Promise<unknown[]> };
  };
  const load = persistence.subscriptionsByClient;
  let isAsked: () => void = () => {};
  const asked = new Promise<void>((resolve) => {
    isAsked = resolve;
  });
  let release: () => void = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  persistence.subscriptionsByClient = async (client) => {
    isAsked();
    await released;
    return load.call(persistence, client);
  };
  // The first holds the place in line; the second, with the token to be revoked, waits behind it.
  const first = broker.connack('device-1', broker.token('device-1'), { clean: false });
  await held.closed;
  await asked;
  const second = broker.connack('device-1', text);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await broker.auth.revoke(broker.issuer.name, { kind: 'token', tokenId: jtiOf(text) });
  persistence.subscriptionsByClient = load;
  release();
  await first;
  expect(await second).toBe(4);
});

describe('revocations of a source', () => {
  interface Feed {
    issuer: TestIssuer;
    options: TestBrokerOptions;
    listener(): RevocationListener;
    isStopped(): boolean;
  }

  function source(): Feed {
    let listener: RevocationListener | undefined;
    let isStopped = false;
    const made = testIssuer();
    return {
      options: {
        issuers: [
          {
            issuer: made.name,
            keys: { jwks: made.jwks },
            revocations: {
              source: (one) => {
                listener = one;
                return () => {
                  isStopped = true;
                };
              },
              maxAwaySeconds: 0.05,
              refuseWhenAway: true,
            },
          },
        ],
      },
      listener: () => listener as RevocationListener,
      isStopped: () => isStopped,
      issuer: made,
    };
  }

  test('nobody gets in until they are known, where that is asked for', async () => {
    const feed = source();
    const broker = await startTestBroker(feed.options);
    const text = feed.issuer.token({ clientId: 'device-1' });
    expect(await broker.connack('device-1', text)).toBe(3);
    expect(await broker.refusal({ action: 'connect' })).toMatchObject({ reason: 'revocations_unavailable' });
    feed.listener().current();
    expect(await broker.connack('device-1', text)).toBe(0);
  });

  test('while it is away for too long the broker says so and lets nobody in; sessions go on', async () => {
    const feed = source();
    const broker = await startTestBroker(feed.options);
    feed.listener().current();
    const client = await broker.session('device-1', {}, feed.issuer.token({ clientId: 'device-1' }));
    expect(broker.auth.problems()).toEqual([]);
    feed.listener().away();
    await new Promise((resolve) => setTimeout(resolve, 80));
    expect(broker.auth.problems()).toHaveLength(1);
    expect(await broker.connack('device-2', feed.issuer.token({ clientId: 'device-2' }))).toBe(3);
    expect(await client.settle()).toEqual([]);
    feed.listener().current();
    expect(broker.auth.problems()).toEqual([]);
    expect(await broker.connack('device-2', feed.issuer.token({ clientId: 'device-2' }))).toBe(0);
  });

  test('what it tells ends sessions, and it is stopped with the broker', async () => {
    const feed = source();
    const broker = await startTestBroker(feed.options);
    feed.listener().current();
    const text = feed.issuer.token({ clientId: 'device-1' });
    const client = await broker.session('device-1', {}, text);
    feed.listener().revoke({ kind: 'token', tokenId: jtiOf(text) });
    await client.closed;
    broker.auth.close();
    expect(feed.isStopped()).toBe(true);
  });
});
