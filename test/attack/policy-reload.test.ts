import { DocumentError, parsePolicy } from '@fleetgate/broker';
import { describe, expect, test } from 'vitest';
import {
  attack,
  ownScope,
  payloads,
  publishPacket,
  subscribe,
  type TestBroker,
  until,
} from '../support/broker-fixture.ts';
import { connectPacket, type RawClient } from '../support/broker-raw-client.ts';
import { A, B, retained, watcher } from './victim.ts';

const policyOf = (scope: object, deny: object[] = []) =>
  parsePolicy(JSON.stringify({ version: 1, scopes: { s: scope }, deny }), 'policy.yaml');
const wide = policyOf({ publish: ['devices/#'], subscribe: ['devices/#'] });
const narrow = policyOf({ publish: ['devices/{client_id}/#'], subscribe: ['devices/{client_id}/#'] });
const session = (broker: TestBroker, clean = true) =>
  broker.session(B, { clean }, broker.token(B, { scope: ['s'] }));

/** Device A, that no deny concerns. */
const owner = (broker: TestBroker) =>
  broker.session(A, {}, broker.token(A, { scope: [...ownScope(A), 'unrestricted'] }));

async function send(client: RawClient, topic: string, payload: string, retain = false): Promise<void> {
  client.send(publishPacket(topic, payload, { qos: 1, retain }));
  await client.next('puback');
  await client.settle();
}

describe('when another policy takes A away from B', () => {
  const others: [string, typeof wide | undefined][] = [
    ['by a narrower rule', narrow],
    [
      'by a deny',
      policyOf({ publish: ['devices/#'], subscribe: ['devices/#'] }, [
        { publish: [`devices/${A}/#`], subscribe: [`devices/${A}/#`], unless: ['unrestricted'] },
      ]),
    ],
    [
      'by a rule of fewer options',
      policyOf({ subscribe: [{ topic: 'devices/#', broader: 'exact', max_qos: 0 }] }, [
        { subscribe: [`devices/${A}/#`], unless: ['unrestricted'] },
      ]),
    ],
    ['by having no such scope', parsePolicy('version: 1\n', 'policy.yaml')],
    ['by there being none', undefined],
  ];
  for (const [name, next] of others) {
    for (const clean of [true, false]) {
      attack(
        `${name}, what it had subscribed to has ended, live, retained and queued (clean ${clean})`,
        { policy: wide },
        async (broker) => {
          const client = await session(broker, clean);
          expect(await subscribe(client, ['devices/#', `devices/${A}/#`])).toEqual([1, 1]);
          const device = await owner(broker);
          await broker.auth.setPolicy(next);
          await send(device, `devices/${A}/x`, 'live', true);
          expect(payloads(await client.settle())).toEqual([]);
          expect(await subscribe(client, [`devices/${A}/#`, `devices/${A}/x`])).toEqual([0x80, 0x80]);
          expect(payloads(await client.settle())).toEqual([]);
          await client.end();
          await send(device, `devices/${A}/x`, 'queued');
          const again = await session(broker, clean);
          expect(payloads(await again.settle())).toEqual([]);
        },
      );
    }

    attack(`${name}, what it publishes to A is refused from then on`, { policy: wide }, async (broker) => {
      const seen = await watcher(broker);
      const client = await session(broker);
      await send(client, `devices/${A}/x`, 'before');
      await broker.auth.setPolicy(next);
      client.send(publishPacket(`devices/${A}/x`, 'forged', { retain: true }));
      await client.closed;
      expect(await seen()).toEqual(['before']);
      expect(await retained(broker)).toEqual([]);
    });
  }

  attack('what was queued for B before is not delivered after', { policy: wide }, async (broker) => {
    const client = await session(broker, false);
    await subscribe(client, ['devices/#']);
    await client.end();
    const device = await owner(broker);
    await send(device, `devices/${A}/x`, 'of A');
    await broker.auth.setPolicy(narrow);
    const again = await session(broker, false);
    expect(payloads(await again.settle())).toEqual([]);
  });

  attack('and gives it back, B has to ask again', { policy: wide }, async (broker) => {
    const client = await session(broker, false);
    await subscribe(client, ['devices/#']);
    const device = await owner(broker);
    await broker.auth.setPolicy(narrow);
    await broker.auth.setPolicy(wide);
    await send(device, `devices/${A}/x`, 'of A');
    expect(payloads(await client.settle())).toEqual([]);
    expect(await subscribe(client, ['devices/#'])).toEqual([1]);
  });

  attack('an unfinished SUBSCRIBE or CONNECT does not escape it', { policy: wide }, async (broker) => {
    const device = await owner(broker);
    const clients: RawClient[] = [];
    for (let i = 0; i < 20; i += 1) {
      const token = broker.token(`${B}.${i}`, { scope: ['s'] });
      const client = await broker.raw();
      clients.push(client);
      client.send(connectPacket(`${B}.${i}`, token, { clean: i % 2 === 0 }), {
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: [{ topic: 'devices/#', qos: 1 }],
      });
      await broker.auth.setPolicy(i % 4 < 2 ? narrow : wide);
    }
    await broker.auth.setPolicy(narrow);
    for (const client of clients) await client.next('suback');
    await send(device, `devices/${A}/x`, 'of A');
    for (const client of clients) {
      await client.settle();
      expect(payloads(client.received)).toEqual([]);
    }
  });

  attack(
    'a hundred reloads while B goes on sending let nothing through behind the last',
    { policy: wide, deniedPublish: 'drop' },
    async (broker) => {
      const seen = await watcher(broker);
      const client = await session(broker);
      for (let i = 0; i < 100; i += 1) {
        const set = broker.auth.setPolicy(i % 2 === 0 ? narrow : wide);
        client.send(publishPacket(`devices/${A}/x`, `${i}`, { qos: 1 }));
        if (i % 10 === 0) await set;
      }
      await broker.auth.setPolicy(narrow);
      await until(() => client.received.filter(({ cmd }) => cmd === 'puback').length === 100);
      await client.settle();
      await seen();
      await send(client, `devices/${A}/x`, 'too late');
      expect(await seen()).toEqual([]);
    },
  );
});

describe('a file that is no policy is refused as a whole', () => {
  const good = `version: 1
scopes:
  s: { publish: [ 'devices/{client_id}/#' ] }
`;
  const rows: [string, string][] = [
    ['empty', ''],
    ['of NULs, as after a power loss', '\0'.repeat(500)],
    ['cut inside a list', good.slice(0, -4)],
    ['twice in one file', `${good}---\n${good}`],
    ['with a scope twice', `${good}  s: { publish: [ '#' ] }\n`],
    ['with a merge of another map', `${good}  t: { <<: { publish: [ '#' ] } }\n`],
    [
      'with aliases that multiply',
      `version: 1\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n`,
    ],
    ['nested a thousand deep', `version: 1\nscopes: ${'['.repeat(1_000)}${']'.repeat(1_000)}\n`],
    ['with a tag that constructs', `${good}  t: !!js/function 'function () {}'\n`],
    ['with __proto__ for a rule', `version: 1\nscopes:\n  s:\n    __proto__: { publish: [ '#' ] }\n`],
    ['with a reserved topic', `version: 1\nscopes:\n  s: { subscribe: [ '$SYS/#' ] }\n`],
    ['with a shared subscription', `version: 1\nscopes:\n  s: { subscribe: [ '$share/g/#' ] }\n`],
    [
      'with a direct scope that is given a wider meaning',
      `version: 1\nscopes:\n  'mqtt:publish:a': { publish: [ '#' ] }\n`,
    ],
    ['with a deny of a misspelled kind', `${good}deny:\n  - publsh: [ '#' ]\n`],
    ['with a deny that nothing follows', `${good}deny:\n  -\n`],
    ['with another behind its end', `${good}...\nversion: 1\n`],
    ['in UTF-16', Buffer.from(good, 'utf16le').toString('latin1')],
    ['of a megabyte', `${good}${'#'.repeat(1_048_576)}\n`],
  ];
  for (const [name, text] of rows) {
    test(name, () => {
      expect(() => parsePolicy(text, 'policy.yaml')).toThrow(DocumentError);
    });
  }
});
