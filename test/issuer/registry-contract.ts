import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type AuditEvent, auditEvent } from '../../issuer/audit.ts';
import type { NewClientRecord, Registry, StoredSigningKey } from '../../issuer/registry/registry.ts';

export interface OpenedRegistry {
  readonly registry: Registry;
  /** Another connection to the same store, as another process would have. */
  openAnother(): Promise<Registry>;
  dispose(): Promise<void>;
}

const event = (action: AuditEvent['action'], target: string, result = 'ok'): AuditEvent =>
  auditEvent({
    atMs: 1_700_000_000_123,
    actor: 'admin:default',
    action,
    target,
    result,
    caller: { address: '192.0.2.1', requestId: 'request-1' },
  });

const client = (clientId: string, more: Partial<NewClientRecord> = {}): NewClientRecord => ({
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
  secretHashes: [new Uint8Array(32).fill(1)],
  supertokens: {},
  createdAtMs: 1,
  updatedAtMs: 2,
  ...more,
});

const key = (kid: string, algorithm: StoredSigningKey['algorithm'] = 'ES256', createdAtMs = 1) => ({
  kid,
  algorithm,
  publicJwk: { kty: 'EC', x: kid },
  encryptedPrivateJwk: new Uint8Array([1, 2, 3]),
  createdAtMs,
});

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
        tokenLifetimeSeconds: 60,
        secretHashes: [new Uint8Array(32).fill(7), new Uint8Array(32).fill(8)],
        supertokens: { clientUri: 'https://example.com' },
      });
      expect(await registry.createClient(full, event('client.create', 'sensor-1'))).toBe(true);
      const { registration, secretHashes, ...found } = (await registry.findClient('sensor-1')) ?? {};
      const { secretHashes: hashes, ...expected } = full;
      expect(found).toEqual(expected);
      expect(secretHashes?.map((hash) => Array.from(hash))).toEqual(hashes.map((hash) => Array.from(hash)));
      expect(registration).toBeTypeOf('number');
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

    test('a deleted client is gone with its secrets, and deleting it again writes nothing', async () => {
      await registry.createClient(client('a'), event('client.create', 'a'));
      expect(await registry.deleteClient('a', event('client.delete', 'a'))).toBe(true);
      expect(await registry.findClient('a')).toBeUndefined();
      expect(await registry.deleteClient('a', event('client.delete', 'a'))).toBe(false);
      expect(await audit()).toEqual([
        ['client.create', 'a', 'ok'],
        ['client.delete', 'a', 'ok'],
      ]);
    });

    test('a token is recorded while its registration lasts', async () => {
      await registry.createClient(client('a'), event('client.create', 'a'));
      const found = await registry.findClient('a');
      if (found === undefined) throw new Error('not found');
      const issued = { ...event('token.issue', 'a'), tokenId: 'jti-1' };
      expect(await registry.recordIssuedToken(found, issued)).toBe(true);
      expect((await registry.listEvents({ limit: 10 })).at(-1)).toMatchObject(issued);
    });

    test('no token is recorded for a registration that has ended, even when its id is registered again', async () => {
      await registry.createClient(client('a'), event('client.create', 'a'));
      const found = await registry.findClient('a');
      if (found === undefined) throw new Error('not found');
      await registry.deleteClient('a', event('client.delete', 'a'));
      expect(await registry.recordIssuedToken(found, event('token.issue', 'a'))).toBe(false);
      await registry.createClient(client('a'), event('client.create', 'a'));
      expect(await registry.recordIssuedToken(found, event('token.issue', 'a'))).toBe(false);
      expect((await audit()).map(([action]) => action)).not.toContain('token.issue');
    });

    test('events come back whole, in order, from a position on', async () => {
      const bare = auditEvent({ atMs: 5, actor: 'issuer', action: 'key.activate' });
      await registry.recordEvent(event('client.delete', 'x', 'client_unknown'));
      await registry.recordEvent(bare);
      const [first, second] = await registry.listEvents({ limit: 10 });
      expect(first).toMatchObject(event('client.delete', 'x', 'client_unknown'));
      expect(second).toEqual({ ...bare, sequence: second?.sequence });
      expect(await registry.listEvents({ after: first?.sequence ?? 0, limit: 10 })).toEqual([second]);
      expect(await registry.listEvents({ limit: 1 })).toEqual([first]);
    });

    test('a second active key of one algorithm is not stored', async () => {
      expect(await registry.activateSigningKey(key('k1'), event('key.activate', 'k1'))).toBe(true);
      expect(await registry.activateSigningKey(key('k2'), event('key.activate', 'k2'))).toBe(false);
      expect((await registry.signingKeys()).map(({ kid, state }) => [kid, state])).toEqual([
        ['k1', 'active'],
      ]);
      expect(await audit()).toEqual([['key.activate', 'k1', 'ok']]);
    });

    test('a key of another algorithm takes over, and the one before stays as retired', async () => {
      await registry.activateSigningKey(key('k1', 'ES256', 1), event('key.activate', 'k1'));
      await registry.activateSigningKey(key('k2', 'EdDSA', 2), event('key.activate', 'k2'));
      const [active, retired] = await registry.signingKeys();
      expect(active).toMatchObject({ kid: 'k2', algorithm: 'EdDSA', state: 'active', createdAtMs: 2 });
      expect(retired).toMatchObject({ kid: 'k1', publicJwk: { kty: 'EC', x: 'k1' }, state: 'retired' });
      expect(Array.from(retired?.encryptedPrivateJwk ?? [])).toEqual([1, 2, 3]);
    });

    test('two connections that activate a key at once leave one active key, which both see', async () => {
      const another = await opened.openAnother();
      await Promise.all([
        registry.activateSigningKey(key('k1'), event('key.activate', 'k1')),
        another.activateSigningKey(key('k2'), event('key.activate', 'k2')),
      ]);
      const keys = await registry.signingKeys();
      expect(keys.filter(({ state }) => state === 'active')).toHaveLength(1);
      expect((await another.signingKeys()).map(({ kid }) => kid)).toEqual(keys.map(({ kid }) => kid));
      await another.close();
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
      expect(await registry.isReadable()).toBe(false);
      const another = await opened.openAnother();
      expect(await another.findClient('a')).toBeDefined();
      await another.close();
    });
  });
}
