import { createHmac } from 'node:crypto';
import { parsePolicy } from '@fleetgate/broker';
import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect } from 'vitest';
import {
  attack,
  ownScope,
  payloads,
  publishPacket,
  subscribe,
  type TestBroker,
  until,
} from '../support/broker-fixture.ts';
import type { RawClient } from '../support/broker-raw-client.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import { inputOf, signed } from './forged-token.ts';
import { A, B, retained, victim, watcher } from './victim.ts';

const tokenTopic = '$fleetgate/token';
const sessionTopic = '$fleetgate/session';
const wide = ['mqtt:publish:devices/#', 'mqtt:subscribe:devices/#'];

/** How far the clock of a broker under test is ahead. */
const ahead = { ms: 0 };

async function renew(client: RawClient, token: string | Uint8Array): Promise<void> {
  client.send(publishPacket(tokenTopic, token as string, { qos: 1 }));
  await client.next('puback');
}

/** What the client was told of its session so far. */
const told = (client: RawClient): Record<string, unknown>[] =>
  client.received
    .filter((packet): packet is IPublishPacket => packet.cmd === 'publish' && packet.topic === sessionTopic)
    .map(({ payload }) => JSON.parse(payload.toString()));

describe('a session of B is not widened, prolonged or turned into one of A by', () => {
  const other = testIssuer('https://other.example');
  type TokenOf = (broker: TestBroker) => string | Uint8Array;
  const rows: [string, TokenOf, string][] = [
    ['a token of A', (broker) => broker.token(A), 'token_claim_invalid'],
    [
      'a token of A that may do everything',
      (broker) => broker.token(A, { scope: wide }),
      'token_claim_invalid',
    ],
    ['a token of B in upper case', (broker) => broker.token(B.toUpperCase()), 'token_claim_invalid'],
    [
      'a token of a client whose name begins with that of B',
      (broker) => broker.token(`${B}.1`),
      'token_claim_invalid',
    ],
    [
      'a token of B from another issuer that is trusted',
      () => other.token({ clientId: B, scope: wide }),
      'token_claim_invalid',
    ],
    [
      'a token of B from an issuer that is not',
      () => testIssuer('https://evil.example').token({ clientId: B, scope: wide }),
      'token_issuer_unknown',
    ],
    [
      'a token that B has signed',
      (broker) =>
        testIssuer(broker.issuer.name).token({
          clientId: B,
          scope: wide,
          header: { kid: broker.issuer.kid },
        }),
      'token_signature_invalid',
    ],
    [
      'a token of alg none',
      (broker) => broker.token(B, { scope: wide, header: { alg: 'none' } }),
      'token_algorithm_refused',
    ],
    [
      'an HMAC with the public key',
      (broker) => {
        const input = inputOf(broker, { alg: 'HS256' });
        const pem = broker.issuer.publicKey.export({ type: 'spki', format: 'pem' });
        return signed(input, createHmac('sha256', pem).update(input).digest());
      },
      'token_algorithm_refused',
    ],
    [
      'a signature of zeros',
      (broker) => signed(inputOf(broker), Buffer.alloc(64)),
      'token_signature_invalid',
    ],
    [
      'its own payload with more in it',
      (broker) => {
        const [header, payload = '', signature] = broker.token(B).split('.');
        const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
        const more = Buffer.from(JSON.stringify({ ...claims, scp: wide })).toString('base64url');
        return `${header}.${more}.${signature}`;
      },
      'token_signature_invalid',
    ],
    [
      'a token for another audience',
      (broker) => broker.token(B, { scope: wide, claims: { aud: ['x'] } }),
      'token_audience_refused',
    ],
    [
      'a token bound to a certificate',
      (broker) => broker.token(B, { scope: wide, claims: { cnf: { 'x5t#S256': 'x' } } }),
      'token_claim_invalid',
    ],
    [
      'a token that begins tomorrow',
      (broker) => broker.token(B, { scope: wide, claims: { nbf: Math.floor(Date.now() / 1000) + 86_400 } }),
      'token_not_yet_valid',
    ],
    [
      'a token that is over',
      (broker) => {
        const now = Math.floor(Date.now() / 1000);
        return broker.token(B, { scope: wide, claims: { iat: now - 600, nbf: now - 600, exp: now - 60 } });
      },
      'token_expired',
    ],
    [
      'a token with a name twice',
      (broker) => {
        const [header = '', payload = ''] = broker.token(B, { scope: wide }).split('.');
        const json = Buffer.from(payload, 'base64url').toString().replace('{', '{"sub":"x",');
        return broker.issuer.tokenOf(Buffer.from(header, 'base64url'), json);
      },
      'token_malformed',
    ],
    ['a token behind Bearer', (broker) => `Bearer ${broker.token(B, { scope: wide })}`, 'token_malformed'],
    ['half a megabyte', () => Buffer.alloc(500_000, 0x41), 'token_too_long'],
    ['nothing', () => '', 'token_missing'],
  ];
  for (const [name, tokenOf, error] of rows) {
    attack(name, { otherIssuers: [other] }, async (broker) => {
      const device = await victim(broker);
      const client = await broker.session(B);
      await subscribe(client, [sessionTopic]);
      const token = tokenOf(broker);
      await renew(client, token);
      await client.settle();
      expect(told(client)).toMatchObject([{ event: 'session' }, { event: 'refused', error }]);
      expect(await subscribe(client, ['devices/#', `devices/${A}/#`])).toEqual([0x80, 0x80]);
      if (token.length > 0) expect(broker.log()).not.toContain(token.toString().split('.').at(-1));
      client.send(publishPacket(`devices/${A}/x`, 'forged'));
      await client.closed;
      await device.unharmed();
    });
  }
});

describe('client ids bound by prefix', () => {
  attack(
    'a session of B under a longer id is not renewed with the token of the client of that name',
    { clientIdBinding: 'prefix' },
    async (broker) => {
      const longer = `${B}.1`;
      const client = await broker.session(longer, { username: B }, broker.token(B));
      await subscribe(client, [sessionTopic]);
      await renew(client, broker.token(longer, { scope: wide }));
      await client.settle();
      expect(told(client).at(-1)).toEqual({ event: 'refused', error: 'token_claim_invalid' });
    },
  );
});

describe('a token that B publishes goes nowhere else', () => {
  for (const deniedPublish of ['disconnect', 'drop'] as const) {
    attack(
      `not to who may see everything, live, retained or queued (${deniedPublish})`,
      { deniedPublish },
      async (broker) => {
        const seen = await watcher(broker);
        const scope = ['mqtt:subscribe:#'];
        const filters = ['#', '+/token', '+/dropped', '+/+'];
        const spy = await broker.session('spy', { clean: false }, broker.token('spy', { scope }));
        await subscribe(spy, filters);
        await spy.end();
        const client = await broker.session(B, { clean: false });
        for (const qos of [0, 1, 2] as const) {
          client.send(publishPacket(tokenTopic, broker.token(B), { qos, retain: true, messageId: 77 }));
        }
        client.send({ cmd: 'pubrel', messageId: 77 });
        await client.next('pubcomp');
        expect(await seen()).toEqual([]);
        const again = await broker.session('spy', { clean: false }, broker.token('spy', { scope }));
        await subscribe(again, filters);
        expect(payloads(await again.settle())).toEqual([]);
        expect(await retained(broker)).toEqual([]);
      },
    );
  }
});

describe('with the acknowledgement of a narrower token, what B had of A has ended', () => {
  for (const clean of [true, false]) {
    attack(`live, retained and queued (clean ${clean})`, {}, async (broker) => {
      const client = await broker.session(B, { clean }, broker.token(B, { scope: wide }));
      await subscribe(client, ['devices/#', `devices/${A}/#`]);
      const device = await broker.session(A);
      await renew(client, broker.token(B));
      const send = async (payload: string) => {
        device.send(publishPacket(`devices/${A}/x`, payload, { qos: 1, retain: true }));
        await device.next('puback');
        await device.settle();
      };
      await send('live');
      expect(payloads(await client.settle())).toEqual([]);
      await client.end();
      await send('queued');
      const again = await broker.session(B, { clean });
      expect(await subscribe(again, ['devices/#', `devices/${A}/x`])).toEqual([0x80, 0x80]);
      expect(payloads(await again.settle())).toEqual([]);
    });
  }

  attack('and a wider token later brings nothing back by itself', {}, async (broker) => {
    const client = await broker.session(B, { clean: false }, broker.token(B, { scope: wide }));
    await subscribe(client, ['devices/#']);
    await renew(client, broker.token(B));
    await renew(client, broker.token(B, { scope: wide }));
    const device = await broker.session(A);
    device.send(publishPacket(`devices/${A}/x`, 'of A', { qos: 1 }));
    await device.next('puback');
    await device.settle();
    expect(payloads(await client.settle())).toEqual([]);
  });

  attack(
    'and of messages behind it in one segment those to A are taken or refused, none behind the answer',
    {},
    async (broker) => {
      const seen = await watcher(broker);
      const client = await broker.session(B, {}, broker.token(B, { scope: wide }));
      const renewal = publishPacket(tokenTopic, broker.token(B), { qos: 1 });
      client.send(renewal, publishPacket(`devices/${A}/x`, 'under way', { qos: 1 }));
      // The other may be acknowledged first, while the token is verified; or be refused, which closes the connection.
      let isClosed = false;
      void client.closed.then(() => {
        isClosed = true;
      });
      const isAnswered = () =>
        client.received.some((one) => one.cmd === 'puback' && one.messageId === renewal.messageId);
      await until(() => isClosed || isAnswered());
      client.send(publishPacket(`devices/${A}/x`, 'too late', { qos: 1 }));
      await client.closed;
      expect(['', 'under way']).toContain((await seen()).join());
    },
  );

  const policy = parsePolicy(
    JSON.stringify({
      version: 1,
      scopes: { site: { subscribe: ['sites/{claim:site}/#'], publish: ['sites/{claim:site}/#'] } },
    }),
    'policy.yaml',
  );
  attack('and topics of a claim follow the claim', { policy }, async (broker) => {
    const at = (site: string) => broker.token(B, { scope: ['site'], claims: { site } });
    const client = await broker.session(B, {}, at('north'));
    expect(await subscribe(client, ['sites/north/#'])).toEqual([1]);
    await renew(client, at('south'));
    const publisher = await broker.session(
      'publisher',
      {},
      broker.token('publisher', { scope: ['mqtt:publish:#'] }),
    );
    publisher.send(publishPacket('sites/north/x', 'of the north', { qos: 1 }));
    await publisher.next('puback');
    await publisher.settle();
    expect(payloads(await client.settle())).toEqual([]);
    expect(await subscribe(client, ['sites/north/#', 'sites/south/#'])).toEqual([0x80, 1]);
  });
});

describe('an old token', () => {
  attack('that was revoked does not bring its grants back', {}, async (broker) => {
    const old = broker.token(B, { scope: wide, claims: { jti: 'old' } });
    const client = await broker.session(B, {}, old);
    await renew(client, broker.token(B));
    await broker.auth.revoke(broker.issuer.name, { kind: 'token', tokenId: 'old' });
    await renew(client, old);
    expect(await broker.refusal({ action: 'renewal' })).toMatchObject({ reason: 'token_revoked' });
    expect(await subscribe(client, ['devices/#'])).toEqual([0x80]);
  });

  attack('does not save a session from the revocation of its client', {}, async (broker) => {
    const hoard = Array.from({ length: 8 }, () => broker.token(B));
    const client = await broker.session(B);
    const atSeconds = Math.floor(Date.now() / 1000);
    const revoked = broker.auth.revoke(broker.issuer.name, { kind: 'client', clientId: B, atSeconds });
    client.send(...hoard.map((token) => publishPacket(tokenTopic, token, { qos: 1 })));
    await revoked;
    await client.closed;
    for (const token of hoard) expect(await broker.connack(B, token)).toBe(4);
  });

  attack(
    'that has expired does not prolong a session, also in its last second',
    { now: () => Date.now() + ahead.ms },
    async (broker) => {
      ahead.ms = 0;
      const token = broker.token(B, { expiresInSeconds: 60 });
      const client = await broker.session(B, {}, token);
      ahead.ms = 65_500;
      client.send(publishPacket(tokenTopic, token, { qos: 1 }), publishPacket(tokenTopic, token, { qos: 1 }));
      await client.closed;
      expect(await broker.refusal({ action: 'session' })).toMatchObject({ reason: 'session_expired' });
      ahead.ms = 0;
    },
  );
});

describe('the session topic', () => {
  attack('tells each of its own alone, whoever subscribes', {}, async (broker) => {
    const device = await broker.session(A);
    await subscribe(device, [sessionTopic]);
    const spies = await Promise.all(
      [B, 'spy-1', 'spy-2'].map((id) =>
        broker.session(id, {}, broker.token(id, { scope: ['mqtt:subscribe:#'] })),
      ),
    );
    for (const spy of spies) await subscribe(spy, [sessionTopic, '#'], 2);
    await renew(device, broker.token(A, { scope: [...ownScope(A), 'mqtt:publish:only/of/a'] }));
    await renew(device, 'nonsense');
    await device.settle();
    expect(told(device).map(({ event }) => event)).toEqual(['session', 'renewed', 'refused']);
    for (const spy of spies) {
      await spy.settle();
      expect(told(spy).map(({ event }) => event)).toEqual(['session']);
      expect(payloads(spy.received).join()).not.toContain('only/of/a');
    }
  });

  attack('of the next session under this id tells nothing of the one before', {}, async (broker) => {
    const first = await broker.session(B, { clean: false });
    await subscribe(first, [sessionTopic]);
    await first.end();
    const second = await broker.session(B, { clean: false }, broker.token(B, { scope: [] }));
    await renew(second, 'nonsense');
    await second.settle();
    expect(told(second).every(({ event }) => event === 'refused' || event === 'session')).toBe(true);
    expect(JSON.stringify(told(second))).not.toContain('devices/');
  });
});

attack(
  'a renewal makes no room beyond the limit of subscriptions',
  { limits: { maxSubscriptionsPerClient: 3 } },
  async (broker) => {
    const client = await broker.session(B, { clean: false });
    const one = async (n: number) => (await subscribe(client, [`devices/${B}/${n}`]))[0];
    const codes: (number | undefined)[] = [];
    for (let n = 0; n < 6; n += 1) {
      codes.push(await one(n));
      await renew(client, broker.token(B));
    }
    expect(codes).toEqual([1, 1, 1, 0x80, 0x80, 0x80]);
  },
);

attack('300 renewals of others, good and bad, keep nobody waiting', {}, async (broker) => {
  const device = await victim(broker);
  const clients = await Promise.all(Array.from({ length: 10 }, (_, i) => broker.session(`flood-${i}`)));
  for (const [i, client] of clients.entries()) {
    const tokens = Array.from({ length: 30 }, (_, n) =>
      n % 2 === 0 ? broker.token(`flood-${i}`) : broker.token(A),
    );
    client.send(...tokens.map((token) => publishPacket(tokenTopic, token, { qos: 1 })));
  }
  await device.unharmed();
  const acknowledged = () =>
    clients.flatMap(({ received }) => received).filter(({ cmd }) => cmd === 'puback').length;
  await until(() => acknowledged() === 300);
});
