import { type Revocation, revokes } from '@fleetgate/shared';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type AuditEvent, auditEvent } from '../../issuer/audit.ts';
import { toWire } from '../../issuer/http/revocation-wire.ts';
import type { ClientRecord, NewClientRecord, Registry } from '../../issuer/registry/registry.ts';
import type { NewRevocation, RevocableToken, RevocationTarget } from '../../issuer/revocation.ts';
import { type ClientSecret, hashSecret, unusedSecret } from '../../issuer/secrets.ts';
import { putKeys, revokeKey, signingKey } from './signing-key-contract.ts';

export interface OpenedRegistry {
  readonly registry: Registry;
  /** Another connection to the same store, as another process would have. */
  openAnother(): Promise<Registry>;
  dispose(): Promise<void>;
}

export const event = (action: AuditEvent['action'], target: string, result = 'ok'): AuditEvent =>
  auditEvent({
    atMs: 1_700_000_000_123,
    actor: 'admin:default',
    action,
    target,
    result,
    caller: { address: '192.0.2.1', requestId: 'request-1' },
  });

export const client = (clientId: string, more: Partial<NewClientRecord> = {}): NewClientRecord => ({
  clientId,
  name: undefined,
  scope: '',
  audience: [],
  authMethod: 'client_secret_basic',
  grantTypes: ['client_credentials'],
  group: undefined,
  labels: {},
  metadata: {},
  tokenLifetimeSeconds: undefined,
  secrets: [unusedSecret({ hash: hashSecret('secret') }, { createdAtMs: 1 })],
  supertokens: {},
  createdAtMs: 1,
  updatedAtMs: 2,
  ...more,
});

/** Compared by what is in it: the hash of one read from a store is a Buffer. */
const withBytes = (secret: ClientSecret) => ({ ...secret, hash: Array.from(secret.hash) });

/** The second of {@link event}. */
export const NOW = 1_700_000_000;
const GONE = NOW + 86_700;

const revocation = <Target extends RevocationTarget>(target: Target, expiresAtSeconds = GONE) => ({
  ...target,
  expiresAtSeconds,
});
export const ofClient = (clientId: string, atSeconds = NOW) =>
  revocation({ kind: 'client' as const, clientId, atSeconds });

/** What every implementation of the port keeps. */
export function registryContract(name: string, open: () => Promise<OpenedRegistry>): void {
  describe(`${name} keeps the contract of a registry`, () => {
    let opened: OpenedRegistry;
    let registry: Registry;

    beforeEach(async () => {
      opened = await open();
      registry = opened.registry;
    });
    afterEach(() => opened.dispose());

    const audit = async () =>
      (await registry.listEvents({ limit: 1000 })).map(({ action, target, result }) => [
        action,
        target,
        result,
      ]);

    test('a client is found as it was registered, field by field', async () => {
      const full = client('sensor-1', {
        name: "Robert'); DROP TABLE clients;--",
        scope: 'a mqtt:publish:x/{client_id}',
        audience: ['mqtt', 'api'],
        group: 'plant-7',
        labels: { hw: 'rev-a' },
        metadata: { nested: { list: [1, null, 'ü'] } },
        authMethod: 'private_key_jwt',
        jwks: { keys: [{ kty: 'EC', x5c: ['AAAA'] }] },
        jwksUri: 'https://keys.example/jwks',
        tlsClientAuthSubjectDn: 'CN=a\\,b,O=ü',
        tlsClientAuthSanDns: 'a.example',
        tlsClientAuthSanUri: 'urn:a',
        tlsClientAuthSanIp: '::1',
        tlsClientAuthSanEmail: 'a@example.com',
        tokenLifetimeSeconds: 60,
        secrets: [
          unusedSecret({ hash: hashSecret('one') }, { createdAtMs: 1 }),
          unusedSecret({ hash: hashSecret('two') }, { createdAtMs: 1, expiresAtMs: 9 }),
        ],
        supertokens: { clientUri: 'https://example.com' },
      });
      expect(await registry.createClient(full, event('client.create', 'sensor-1'))).toBe(true);
      const { registration, secrets, revision, quarantine, ...found } =
        (await registry.findClient('sensor-1')) ?? {};
      const { secrets: made, ...expected } = full;
      expect(found).toEqual(expected);
      expect(secrets?.map(withBytes)).toEqual(made.map(withBytes));
      expect(registration).toBeTypeOf('number');
      expect([revision, quarantine]).toEqual([1, undefined]);
    });

    test('a client that is not there is undefined, also in another case', async () => {
      await registry.createClient(client('sensor-1'), event('client.create', 'sensor-1'));
      expect(await registry.findClient('nobody')).toBeUndefined();
      expect(await registry.findClient('SENSOR-1')).toBeUndefined();
    });

    test('an id is registered once, and the second attempt writes nothing, no audit event either', async () => {
      expect(await registry.createClient(client('a', { name: 'one' }), event('client.create', 'a'))).toBe(
        true,
      );
      expect(await registry.createClient(client('a', { name: 'two' }), event('client.create', 'a'))).toBe(
        false,
      );
      expect((await registry.findClient('a'))?.name).toBe('one');
      expect(await audit()).toEqual([['client.create', 'a', 'ok']]);
    });

    test('of concurrent registrations of one id exactly one succeeds', async () => {
      const results = await Promise.all(
        Array.from({ length: 20 }, () => registry.createClient(client('a'), event('client.create', 'a'))),
      );
      expect(results.filter(Boolean)).toHaveLength(1);
      expect(await audit()).toHaveLength(1);
    });

    test('pages follow one another by id, each client once, whatever the order of registration', async () => {
      for (const id of ['b', 'C', 'a', 'a.1', '-', 'Z']) {
        await registry.createClient(client(id), event('client.create', id));
      }
      const ids: string[] = [];
      let after: string | undefined;
      for (;;) {
        const page = await registry.listClients({ limit: 2, ...(after === undefined ? {} : { after }) });
        ids.push(...page.map(({ clientId }) => clientId));
        after = page.at(-1)?.clientId;
        if (page.length < 2) break;
      }
      expect(ids).toEqual(['-', 'C', 'Z', 'a', 'a.1', 'b']);
    });

    const register = async (clientId: string): Promise<ClientRecord> => {
      await registry.createClient(client(clientId), event('client.create', clientId));
      const found = await registry.findClient(clientId);
      if (found === undefined) throw new Error('not found');
      return found;
    };
    const revoke = (one: NewRevocation) =>
      one.kind === 'key'
        ? revokeKey(registry, one, event('token.revoke', 'x'))
        : registry.revoke(one, event('token.revoke', 'x'));
    const live = (after?: string) => registry.listRevocations({ after, nowSeconds: NOW, limit: 1000 });

    test('a deleted client is gone with its secrets, and deleting it again writes nothing', async () => {
      await registry.createClient(client('a'), event('client.create', 'a'));
      expect(await registry.deleteClient(ofClient('a'), event('client.delete', 'a'))).toBe(true);
      expect(await registry.findClient('a')).toBeUndefined();
      expect(await registry.deleteClient(ofClient('a'), event('client.delete', 'a'))).toBe(false);
      expect(await live()).toMatchObject([ofClient('a')]);
      expect(await audit()).toEqual([
        ['client.create', 'a', 'ok'],
        ['client.delete', 'a', 'ok'],
      ]);
    });

    test('a token is recorded while its registration lasts', async () => {
      const found = await register('a');
      const issued = { ...event('token.issue', 'a'), tokenId: 'jti-1' };
      expect(await registry.recordIssuedToken(found, { issuedAtSeconds: NOW }, issued)).toEqual({
        outcome: 'recorded',
      });
      expect((await registry.listEvents({ limit: 10 })).at(-1)).toMatchObject(issued);
    });

    test('no token is recorded for a registration that has ended, even when its id is registered again', async () => {
      const found = await register('a');
      await registry.deleteClient(ofClient('a'), event('client.delete', 'a'));
      const ended = { outcome: 'registration_ended' };
      expect(
        await registry.recordIssuedToken(found, { issuedAtSeconds: NOW + 1 }, event('token.issue', 'a')),
      ).toEqual(ended);
      await register('a');
      expect(
        await registry.recordIssuedToken(found, { issuedAtSeconds: NOW + 1 }, event('token.issue', 'a')),
      ).toEqual(ended);
      expect((await audit()).map(([action]) => action)).not.toContain('token.issue');
    });

    test('events come back whole, in order, from a position on', async () => {
      const bare = auditEvent({ atMs: 5, actor: 'issuer', action: 'key.activate' });
      await registry.recordEvent(event('client.delete', 'x', 'client_unknown'));
      await registry.recordEvent(bare);
      const [first, second] = await registry.listEvents({ limit: 10 });
      expect(first).toMatchObject(event('client.delete', 'x', 'client_unknown'));
      expect(second).toEqual({
        ...bare,
        sequence: second?.sequence,
        previousHash: first?.hash,
        hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      });
      expect(await registry.listEvents({ after: first?.sequence ?? 0, limit: 10 })).toEqual([second]);
      expect(await registry.listEvents({ limit: 1 })).toEqual([first]);
    });

    test('its rows and clients in quarantine are counted, and its acts by commits', async () => {
      expect(await registry.counts()).toEqual({ auditEvents: 0, quarantinedClients: 0 });
      const before = registry.load();
      await Promise.all([
        registry.createClient(client('a'), event('client.create', 'a')),
        registry.createClient(client('b'), event('client.create', 'b')),
        registry.recordEvent(event('client.delete', 'x', 'client_unknown')),
      ]);
      expect(await registry.counts()).toEqual({ auditEvents: 3, quarantinedClients: 0 });
      const { waitingActs, commits, acts } = registry.load();
      expect([waitingActs, acts - before.acts]).toEqual([0, 3]);
      expect(commits).toBeGreaterThan(before.commits);
    });

    describe('a revocation', () => {
      test.each<Exclude<RevocationTarget, { kind: 'key' }>>([
        { kind: 'token', tokenId: "j'1" },
        { kind: 'client', clientId: 'a', atSeconds: NOW },
        { kind: 'issued_before', atSeconds: NOW },
        { kind: 'issued_before', clientId: 'a', atSeconds: 0 },
      ])('of kind $kind is listed as it was made, with its audit event', async (target) => {
        await register('a');
        const made = { ...event('token.revoke', 'a'), tokenId: 'j' };
        const answer = await registry.revoke(revocation(target), made);
        expect(answer).toMatchObject({ outcome: 'recorded', revocation: revocation(target) });
        expect(await live()).toEqual([
          {
            ...revocation(target),
            createdAtMs: made.atMs,
            cursor: expect.stringMatching(/^[\x21-\x7e]{1,64}$/),
          },
        ]);
        expect((await registry.listEvents({ limit: 10 })).at(-1)).toMatchObject(made);
      });

      test.each<RevocationTarget>([
        { kind: 'token', tokenId: 'j1' },
        { kind: 'client', clientId: 'a', atSeconds: NOW },
        { kind: 'issued_before', atSeconds: NOW },
        { kind: 'issued_before', clientId: 'a', atSeconds: NOW },
        { kind: 'key', keyId: 'k1' },
      ])(
        'of kind $kind that is made again is answered with the first, and nothing is written',
        async (target) => {
          await register('a');
          await putKeys(registry, [signingKey('k2'), signingKey('k1', 'retired')]);
          const answers = await Promise.all(
            Array.from({ length: 5 }, () => revoke(revocation(target, GONE))),
          );
          const [first] = await live();
          expect(answers).toEqual([
            { outcome: 'recorded', revocation: first },
            ...Array.from({ length: 4 }, () => ({ outcome: 'already', revocation: first })),
          ]);
          expect(await live()).toHaveLength(1);
          expect((await audit()).filter(([action]) => action === 'token.revoke')).toHaveLength(1);
        },
      );

      test('of less than one that is there already is repeated; of more it is new', async () => {
        await register('a');
        await revoke(revocation({ kind: 'issued_before', atSeconds: NOW }));
        const outcomes = [];
        for (const target of [
          { kind: 'issued_before', atSeconds: NOW - 1 },
          { kind: 'issued_before', atSeconds: NOW + 1 },
          { kind: 'issued_before', clientId: 'a', atSeconds: NOW + 1 },
          { kind: 'client', clientId: 'a', atSeconds: NOW },
        ] as const) {
          outcomes.push((await revoke(revocation(target))).outcome);
        }
        expect(outcomes).toEqual(['already', 'recorded', 'recorded', 'recorded']);
      });

      test.each<[string, RevocationTarget]>([
        ['client_unknown', { kind: 'client', clientId: 'nobody', atSeconds: NOW }],
        ['client_unknown', { kind: 'issued_before', clientId: 'nobody', atSeconds: NOW }],
        ['key_unknown', { kind: 'key', keyId: 'k9' }],
      ])('is %s and writes nothing: %o', async (outcome, target) => {
        await putKeys(registry, [signingKey('k1')]);
        expect(await revoke(revocation(target))).toEqual({ outcome });
        expect(await live()).toEqual([]);
        expect(await audit()).toEqual([]);
      });

      const token = (more: Partial<RevocableToken> = {}): RevocableToken => ({
        tokenId: 'j1',
        clientId: 'a',
        issuedAtSeconds: NOW,
        keyId: 'k1',
        ...more,
      });
      const targets: readonly RevocationTarget[] = [
        { kind: 'token', tokenId: 'j1' },
        { kind: 'client', clientId: 'a', atSeconds: NOW },
        { kind: 'issued_before', atSeconds: NOW },
        { kind: 'issued_before', clientId: 'a', atSeconds: NOW },
        { kind: 'key', keyId: 'k1' },
      ];
      const tokens = [token()].concat(
        ['j1', 'j2'].flatMap((tokenId) =>
          ['a', 'b'].flatMap((clientId) =>
            [NOW - 1, NOW, NOW + 1].flatMap((issuedAtSeconds) =>
              ['k1', 'k2'].map((keyId) => ({ tokenId, clientId, issuedAtSeconds, keyId })),
            ),
          ),
        ),
      );

      test.each(targets)('hits the tokens it names and no other: %o', async (target) => {
        await register('a');
        await putKeys(registry, [signingKey('k2'), signingKey('k1', 'retired')]);
        expect(await registry.isRevoked(token())).toBe(false);
        await revoke(revocation(target));
        const [wire] = (await live()).map(toWire);
        for (const one of tokens) {
          const { tokenId: jti, clientId: client_id, issuedAtSeconds: iat, keyId: kid } = one;
          const expected = revokes(wire as Revocation, { jti, client_id, iat, kid });
          expect([one, await registry.isRevoked(one)]).toEqual([one, expected]);
        }
      });

      test('of a client lets no token be recorded that it would hit, and says from when on', async () => {
        const found = await register('a');
        await revoke(ofClient('a'));
        const issue = (at: number) =>
          registry.recordIssuedToken(found, { issuedAtSeconds: at }, event('token.issue', 'a'));
        expect(await issue(NOW)).toEqual({ outcome: 'revoked_already', validFromSeconds: NOW + 1 });
        expect((await audit()).map(([action]) => action)).not.toContain('token.issue');
        expect(await issue(NOW + 1)).toEqual({ outcome: 'recorded' });
        // That token lies ahead of the clock, and the next revocation in the same second hits it all the same.
        expect(await revoke(ofClient('a'))).toMatchObject({ revocation: { atSeconds: NOW + 1 } });
        expect(await issue(NOW + 1)).toEqual({ outcome: 'revoked_already', validFromSeconds: NOW + 2 });
      });

      test('of a client made often in one second does not run ahead of it by itself', async () => {
        await register('a');
        for (let i = 0; i < 5; i += 1) await revoke(ofClient('a'));
        expect(await live()).toMatchObject([ofClient('a')]);
      });

      test('of a client hits what it was issued by a clock that was set back since', async () => {
        const found = await register('a');
        const issued = { ...event('token.issue', 'a'), atMs: (NOW + 3600) * 1000 };
        await registry.recordIssuedToken(found, { issuedAtSeconds: NOW + 3600 }, issued);
        await registry.recordEvent(event('client.create', 'b'));
        await revoke(ofClient('a'));
        expect(await registry.isRevoked(token({ issuedAtSeconds: NOW + 3600 }))).toBe(true);
      });

      test('of a client hits what another connection has recorded before it by a later clock', async () => {
        const another = await opened.openAnother();
        const found = await register('a');
        const issued = { ...event('token.issue', 'a'), atMs: (NOW + 1) * 1000 };
        await another.recordIssuedToken(found, { issuedAtSeconds: NOW + 1 }, issued);
        await revoke(ofClient('a'));
        expect(await registry.isRevoked(token({ issuedAtSeconds: NOW + 1 }))).toBe(true);
        await another.close();
      });

      test.each<[string, RevocationTarget, number]>([
        ['all', { kind: 'issued_before', atSeconds: NOW + 3 }, NOW + 3],
        ['one client', { kind: 'issued_before', clientId: 'a', atSeconds: NOW + 3 }, NOW + 3],
        ['another client', { kind: 'issued_before', clientId: 'b', atSeconds: NOW + 3 }, 0],
      ])(
        'of what %s was issued before a moment lets no earlier token be recorded',
        async (_name, target, from) => {
          const found = await register('a');
          await register('b');
          await revoke(revocation(target));
          const issue = (at: number) =>
            registry.recordIssuedToken(found, { issuedAtSeconds: at }, event('token.issue', 'a'));
          expect(await issue(NOW)).toEqual(
            from === 0 ? { outcome: 'recorded' } : { outcome: 'revoked_already', validFromSeconds: from },
          );
          expect(await issue(NOW + 3)).toEqual({ outcome: 'recorded' });
        },
      );

      test.each<[string, RevocationTarget & { kind: 'issued_before' }]>([
        ['all clients', { kind: 'issued_before', atSeconds: NOW + 1 }],
        ['one client', { kind: 'issued_before', clientId: 'a', atSeconds: NOW + 1 }],
      ])(
        'of what %s was issued until now hits what lies ahead of the clock, and does not run ahead by itself',
        async (_name, target) => {
          const found = await register('a');
          const issue = (at: number) =>
            registry.recordIssuedToken(found, { issuedAtSeconds: at }, event('token.issue', 'a'));
          await issue(NOW);
          const first = await revoke(revocation(target));
          expect(first).toMatchObject({ outcome: 'recorded', revocation: { atSeconds: NOW + 1 } });
          expect(await revoke(revocation(target))).toMatchObject({ outcome: 'already' });
          expect(await issue(NOW + 1)).toEqual({ outcome: 'recorded' });
          expect(await revoke(revocation(target))).toMatchObject({
            outcome: 'recorded',
            revocation: { atSeconds: NOW + 2, expiresAtSeconds: revocation(target).expiresAtSeconds + 1 },
          });
          expect(await registry.isRevoked(token({ issuedAtSeconds: NOW + 1 }))).toBe(true);
          expect(await issue(NOW + 1)).toEqual({ outcome: 'revoked_already', validFromSeconds: NOW + 2 });
        },
      );

      test('of all until now goes ahead by some seconds at most; a client farther ahead has one of its own', async () => {
        const far = await register('a');
        const near = await register('b');
        await register('c');
        const issue = (client: typeof far, id: string, at: number) =>
          registry.recordIssuedToken(client, { issuedAtSeconds: at }, event('token.issue', id));
        await revoke(revocation({ kind: 'issued_before', clientId: 'a', atSeconds: NOW + 50 }));
        expect(await issue(far, 'a', NOW + 50)).toEqual({ outcome: 'recorded' });
        const all = revocation({ kind: 'issued_before', atSeconds: NOW + 1 });
        expect(await revoke(all)).toMatchObject({ outcome: 'recorded', revocation: { atSeconds: NOW + 6 } });
        expect(await registry.isRevoked(token({ issuedAtSeconds: NOW + 50 }))).toBe(true);
        expect(await issue(far, 'a', NOW + 50)).toMatchObject({ validFromSeconds: NOW + 51 });
        expect(await issue(near, 'b', NOW + 6)).toEqual({ outcome: 'recorded' });
        expect(
          (await live()).map((one) => [
            'clientId' in one && one.clientId,
            'atSeconds' in one && one.atSeconds,
          ]),
        ).toEqual(
          [
            ['a', NOW + 50],
            ['a', NOW + 51],
            [undefined, NOW + 6],
          ].map(([id, at]) => [id ?? false, at]),
        );
      });

      test.each<[number, number]>([
        [2, 3],
        [3600, 6],
      ])('of all until now goes with a clock that was %d s ahead by %d s', async (aheadSeconds, more) => {
        await registry.recordEvent({ ...event('client.create', 'b'), atMs: (NOW + aheadSeconds) * 1000 });
        expect(await revoke(revocation({ kind: 'issued_before', atSeconds: NOW + 1 }))).toMatchObject({
          revocation: { atSeconds: NOW + more },
        });
        expect(await revoke(revocation({ kind: 'issued_before', atSeconds: NOW }))).toMatchObject({
          outcome: 'already',
        });
      });

      test('made by the deletion of a client holds for the next client of that id', async () => {
        await register('a');
        await registry.deleteClient(ofClient('a'), event('client.delete', 'a'));
        const again = await register('a');
        expect(
          await registry.recordIssuedToken(again, { issuedAtSeconds: NOW }, event('token.issue', 'a')),
        ).toEqual({
          outcome: 'revoked_already',
          validFromSeconds: NOW + 1,
        });
      });

      test('made by the deletion of a client hits also what lies ahead of the clock', async () => {
        const found = await register('a');
        await revoke(ofClient('a'));
        await registry.recordIssuedToken(found, { issuedAtSeconds: NOW + 1 }, event('token.issue', 'a'));
        await registry.deleteClient(ofClient('a'), event('client.delete', 'a'));
        expect(await registry.isRevoked(token({ issuedAtSeconds: NOW + 1 }))).toBe(true);
      });
    });

    describe('the list of revocations', () => {
      const ofToken = (number: number, expiresAtSeconds = GONE) =>
        revocation({ kind: 'token', tokenId: `j${number}` }, expiresAtSeconds);
      const ids = (found: readonly object[]) => found.map((one) => (one as { tokenId: string }).tokenId);

      test('is in the order they were made, page by page, with cursors that grow as text', async () => {
        for (let i = 0; i < 25; i += 1) await revoke(ofToken(i));
        const seen: string[] = [];
        const cursors: string[] = [];
        let after: string | undefined;
        for (;;) {
          const page = await registry.listRevocations({ after, nowSeconds: NOW, limit: 10 });
          seen.push(...ids(page));
          cursors.push(...page.map(({ cursor }) => cursor));
          after = page.at(-1)?.cursor;
          if (page.length < 10) break;
        }
        expect(seen).toEqual(Array.from({ length: 25 }, (_, i) => `j${i}`));
        expect(cursors).toEqual([...new Set(cursors)].sort());
      });

      test('leaves out what has expired', async () => {
        await revoke(ofToken(1, NOW));
        await revoke(ofToken(2, NOW + 1));
        expect(ids(await live())).toEqual(['j2']);
      });

      test.each(['nonsense', '', '1', '0000000000000002.5', '9'.repeat(64), `${'9'.repeat(16)}.1`])(
        'is the whole one after a cursor that is not known: "%s"',
        async (cursor) => {
          for (let i = 0; i < 3; i += 1) await revoke(ofToken(i));
          expect(ids(await live(cursor))).toEqual(['j0', 'j1', 'j2']);
        },
      );

      test('loses nothing for a reader whose cursor was pruned', async () => {
        for (let i = 0; i < 4; i += 1) await revoke(ofToken(i, i < 2 ? NOW : GONE));
        const [first] = await registry.listRevocations({ nowSeconds: NOW - 1, limit: 1 });
        expect(await registry.pruneRevocations(NOW)).toBe(2);
        expect(await registry.pruneRevocations(NOW)).toBe(0);
        expect(ids(await live(first?.cursor))).toEqual(['j2', 'j3']);
      });

      test('begins anew in number but not in cursor when all were pruned', async () => {
        await revoke(ofToken(1, NOW));
        const [first] = await registry.listRevocations({ nowSeconds: NOW - 1, limit: 1 });
        await registry.pruneRevocations(NOW);
        const mark = await registry.revocationMark();
        await revoke(ofToken(2));
        const [second] = await live(first?.cursor);
        expect(ids([second as object])).toEqual(['j2']);
        expect(String(second?.cursor) > String(first?.cursor)).toBe(true);
        expect(await registry.revocationMark()).not.toBe(mark);
      });

      test('of one connection shows at once what another has made, and its mark changes', async () => {
        const another = await opened.openAnother();
        const mark = await registry.revocationMark();
        await another.revoke(ofToken(1), event('token.revoke', 'x'));
        expect(ids(await live())).toEqual(['j1']);
        expect(await registry.revocationMark()).not.toBe(mark);
        await another.close();
      });
    });

    test('what one connection was told is done, another sees at once', async () => {
      const another = await opened.openAnother();
      await registry.createClient(client('a'), event('client.create', 'a'));
      expect(await another.findClient('a')).toBeDefined();
      await another.close();
    });

    test('closing finishes the acts that wait; later ones are refused as unavailable', async () => {
      const waiting = registry.createClient(client('a'), event('client.create', 'a'));
      await registry.close();
      expect(await waiting).toBe(true);
      await expect(registry.createClient(client('b'), event('client.create', 'b'))).rejects.toMatchObject({
        code: 'registry_unavailable',
      });
      await expect(registry.findClient('a')).rejects.toMatchObject({ code: 'registry_unavailable' });
      expect(await registry.isAvailable()).toBe(false);
      const another = await opened.openAnother();
      expect(await another.findClient('a')).toBeDefined();
      await another.close();
    });

    describe('an assertion', () => {
      const assertion = (fill: number, expiresAtSeconds = NOW + 60) => ({
        id: new Uint8Array(32).fill(fill),
        expiresAtSeconds,
      });

      test('is used once, of many at once and on every connection, whatever its end', async () => {
        const another = await opened.openAnother();
        const used = await Promise.all(
          [registry, another, registry, another].map((each) => each.useAssertion(assertion(1), NOW)),
        );
        expect(used.filter(Boolean)).toHaveLength(1);
        expect(await registry.useAssertion(assertion(1, NOW + 200), NOW)).toBe(false);
        expect(await registry.useAssertion(assertion(2), NOW)).toBe(true);
        await another.close();
      });

      test('is remembered up to its end and for as long as clocks may differ, and forgotten then', async () => {
        await registry.useAssertion(assertion(1), NOW);
        expect(await registry.useAssertion(assertion(1), NOW + 60)).toBe(false);
        expect(await registry.useAssertion(assertion(1), NOW + 300)).toBe(false);
        expect(await registry.useAssertion(assertion(1), NOW + 1000)).toBe(true);
      });
    });
  });
}
