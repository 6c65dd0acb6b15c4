import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import type { Revocation } from '../../broker/revocation.ts';
import {
  attack,
  payloads,
  publishPacket,
  subscribe,
  type TestBroker,
  until,
} from '../support/broker-fixture.ts';
import { connectPacket } from '../support/broker-raw-client.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import { A, B, victim, watcher } from './victim.ts';

const nowSeconds = () => Math.floor(Date.now() / 1000);
const revokeClient = (broker: TestBroker, clientId: string, atSeconds = nowSeconds()) =>
  broker.auth.revoke(broker.issuer.name, { kind: 'client', clientId, atSeconds });

describe('once B is revoked', () => {
  attack('no token it has hoarded lets it in, with any CONNECT', {}, async (broker) => {
    const hoard = [60, 600, 6_000, 86_400].map((expiresInSeconds) => broker.token(B, { expiresInSeconds }));
    await revokeClient(broker, B);
    for (const token of hoard) {
      for (const connect of [{}, { clean: false }, { username: '' }, { keepalive: 1 }]) {
        // 3 when it has failed often: come back later.
        expect([4, 3]).toContain(await broker.connack(B, token, connect));
      }
    }
  });

  attack('none of fifty CONNECTs that were on their way is a session', {}, async (broker) => {
    for (const turns of [0, 1, 2, 5, 10]) {
      const clients = await Promise.all(Array.from({ length: 10 }, () => broker.raw()));
      const id = `${B}.${turns}`;
      const token = broker.token(id);
      for (const [i, client] of clients.entries())
        client.send(connectPacket(id, token, { clean: i % 2 === 0 }));
      for (let i = 0; i < turns; i += 1) await nextTurn();
      await revokeClient(broker, id);
      await Promise.all(clients.map((client) => client.closed));
      expect(broker.aedes.connectedClients).toBe(0);
      expect([4, 3]).toContain(await broker.connack(id, token));
    }
  });

  attack('nothing it publishes reaches anybody, though it was sending all the time', {}, async (broker) => {
    const seen = await watcher(broker);
    const client = await broker.session(B);
    let isOver = false;
    const flood = (async () => {
      for (let i = 0; !isOver && !client.stream.destroyed; i += 1) {
        client.send(publishPacket(`devices/${B}/x`, `${i}`));
        await nextTurn();
      }
    })();
    await until(async () => (await seen()).length > 0);
    await revokeClient(broker, B);
    await seen();
    await nextTurn();
    expect(await seen()).toEqual([]);
    await client.closed;
    isOver = true;
    await flood;
    expect(await seen()).toEqual([]);
  });

  attack('nothing is delivered to it, live or from its queue', {}, async (broker) => {
    const token = broker.token(B);
    const client = await broker.session(B, { clean: false }, token);
    await subscribe(client, [`devices/${B}/#`]);
    const publisher = await broker.session(
      'publisher',
      {},
      broker.token('publisher', { scope: ['mqtt:publish:#'] }),
    );
    const revoked = revokeClient(broker, B);
    for (let i = 0; i < 20; i += 1) publisher.send(publishPacket(`devices/${B}/x`, `${i}`, { qos: 1 }));
    await revoked;
    await client.closed;
    const after = payloads(client.received).length;
    publisher.send(publishPacket(`devices/${B}/x`, 'too late', { qos: 1 }));
    await publisher.settle();
    expect(await broker.connack(B, token, { clean: false })).toBe(4);
    expect(payloads(client.received)).toHaveLength(after);
  });

  attack('a stream of its CONNECTs with revoked tokens takes nothing from A', {}, async (broker) => {
    const device = await victim(broker);
    const token = broker.token(B);
    await revokeClient(broker, B);
    const codes = await Promise.all(Array.from({ length: 200 }, () => broker.connack(B, token)));
    expect(new Set(codes).difference(new Set([4, 3]))).toEqual(new Set());
    await device.unharmed();
  });
});

describe('a revocation of something else leaves A alone', () => {
  const other = testIssuer('https://other.example');
  type Attempt = (broker: TestBroker) => Promise<void>;
  const by =
    (issuer: string, revocation: Revocation): Attempt =>
    (broker) =>
      broker.auth.revoke(issuer, revocation);
  const ours =
    (revocation: Revocation): Attempt =>
    (broker) =>
      broker.auth.revoke(broker.issuer.name, revocation);
  const later = () => nowSeconds() + 3_600;
  const rows: [string, Attempt][] = [
    [
      'a client of its name at another issuer',
      by(other.name, { kind: 'client', clientId: A, atSeconds: later() }),
    ],
    ['all of another issuer', by(other.name, { kind: 'issued_before', atSeconds: later() })],
    ['its token id at another issuer', by(other.name, { kind: 'token', tokenId: 'of-a' })],
    [
      'its key at another issuer',
      (broker) => broker.auth.revoke(other.name, { kind: 'key', keyId: broker.issuer.kid }),
    ],
    ['an issuer nobody trusts', by('https://evil.example', { kind: 'issued_before', atSeconds: later() })],
    [
      'an issuer whose name begins so',
      (broker) => broker.auth.revoke(`${broker.issuer.name}/`, { kind: 'issued_before', atSeconds: later() }),
    ],
    [
      'a client whose name begins that of A',
      ours({ kind: 'client', clientId: 'device', atSeconds: later() }),
    ],
    [
      'a client whose name begins with that of A',
      ours({ kind: 'client', clientId: `${A}.1`, atSeconds: later() }),
    ],
    [
      'a client of its name in upper case',
      ours({ kind: 'client', clientId: A.toUpperCase(), atSeconds: later() }),
    ],
    ['a client of no name', ours({ kind: 'client', clientId: '', atSeconds: later() })],
    ['a client of the object prototype', ours({ kind: 'client', clientId: '__proto__', atSeconds: later() })],
    ['a token id of the object prototype', ours({ kind: 'token', tokenId: 'constructor' })],
    ['its client id as a token id', ours({ kind: 'token', tokenId: A })],
    ['its token id as a client', ours({ kind: 'client', clientId: 'of-a', atSeconds: later() })],
    ['A long ago', ours({ kind: 'client', clientId: A, atSeconds: 1 })],
  ];
  for (const [name, attempt] of rows) {
    attack(name, { otherIssuers: [other] }, async (broker) => {
      const token = broker.token(A, { claims: { jti: 'of-a' } });
      const client = await broker.session(A, {}, token);
      await attempt(broker);
      expect(await client.settle()).toEqual([]);
      expect(await broker.connack(A, token)).toBe(0);
    });
  }
});

describe('a flood of revocations', () => {
  attack(
    'of 20,000 tokens in one go cuts those that are meant, and keeps nobody waiting',
    {},
    async (broker) => {
      const device = await victim(broker);
      const client = await broker.session(B, {}, broker.token(B, { claims: { jti: 'last' } }));
      const all = Array.from({ length: 20_000 }, (_, i) =>
        broker.auth.revoke(broker.issuer.name, { kind: 'token', tokenId: `${i}` }),
      );
      const last = broker.auth.revoke(broker.issuer.name, { kind: 'token', tokenId: 'last' });
      await device.unharmed();
      await Promise.all([...all, last]);
      await client.closed;
      await device.unharmed();
    },
  );

  attack('with incomplete ones among them takes none of the others back', {}, async (broker) => {
    const tokens = [broker.token(A), broker.token(B)];
    await revokeClient(broker, A);
    for (const odd of [
      { kind: 'client', clientId: A, atSeconds: Number.NaN },
      { kind: 'client', clientId: A },
    ]) {
      await broker.auth.revoke(broker.issuer.name, odd as Revocation);
    }
    expect(await broker.connack(A, tokens[0])).toBe(4);
    // They said nothing that could be held to: all that was issued so far counts as meant.
    expect(await broker.connack(B, tokens[1])).toBe(4);
    const revokedAt = nowSeconds();
    const later = { iat: revokedAt + 1, nbf: revokedAt };
    expect(await broker.connack(B, broker.token(B, { claims: later }))).toBe(0);
    await until(() => nowSeconds() > revokedAt);
  });
});
