import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ApiKeyRecord } from '../../issuer/registry/api-keys.ts';
import type { Registry } from '../../issuer/registry/registry.ts';
import { event, type OpenedRegistry } from './registry-contract.ts';

const hash = (byte: number) => new Uint8Array(32).fill(byte);
const key = (name: string, more: Partial<ApiKeyRecord> = {}): ApiKeyRecord => ({
  name,
  role: 'provisioner',
  hash: hash(1),
  previous: undefined,
  createdAtMs: 1,
  rotatedAtMs: 2,
  expiresAtMs: 3,
  lastUsedAtMs: undefined,
  ...more,
});
const plain = (found: ApiKeyRecord | undefined) =>
  found && {
    ...found,
    hash: Uint8Array.from(found.hash),
    previous: found.previous && { ...found.previous, hash: Uint8Array.from(found.previous.hash) },
  };

/** What every implementation keeps of API keys. */
export function apiKeysContract(name: string, open: () => Promise<OpenedRegistry>): void {
  describe(`${name} keeps the contract of API keys`, () => {
    let opened: OpenedRegistry;
    let registry: Registry;
    beforeEach(async () => {
      opened = await open();
      registry = opened.registry;
    });
    afterEach(() => opened.dispose());

    const create = (one: ApiKeyRecord, maxKeys = 10) =>
      registry.createApiKey(one, maxKeys, event('api_key.create', one.name));
    const audited = async () => (await registry.listEvents({ limit: 100 })).map(({ action }) => action);

    test('a key is found by its name and by its hash, field by field', async () => {
      const one = key('ci', { previous: { hash: hash(9), untilMs: 7 } });
      expect(await create(one)).toBe('created');
      expect(plain(await registry.findApiKey('ci'))).toEqual(one);
      for (const byte of [1, 9]) expect(plain(await registry.findApiKeyByHash(hash(byte)))).toEqual(one);
      expect(await registry.findApiKeyByHash(hash(2))).toBeUndefined();
      expect(await registry.findApiKey('CI')).toBeUndefined();
    });

    test('a name that is taken, and one key too many, write nothing', async () => {
      await create(key('a'));
      expect(await create(key('a', { hash: hash(2) }))).toBe('taken');
      expect(await create(key('b', { hash: hash(2) }), 1)).toBe('full');
      expect(await registry.listApiKeys()).toHaveLength(1);
      expect(await audited()).toEqual(['api_key.create']);
    });

    test('a replaced key is found by its new hash, by the old one as the previous, and keeps its name and role', async () => {
      await create(key('a'));
      const next = key('a', {
        hash: hash(2),
        previous: { hash: hash(1), untilMs: 50 },
        rotatedAtMs: 40,
        expiresAtMs: undefined,
      });
      expect(await registry.replaceApiKey(next, event('api_key.rotate', 'a'))).toBe(true);
      for (const byte of [1, 2]) expect(plain(await registry.findApiKeyByHash(hash(byte)))).toEqual(next);
      expect(await registry.replaceApiKey(key('ghost'), event('api_key.rotate', 'ghost'))).toBe(false);
      expect(await audited()).toEqual(['api_key.create', 'api_key.rotate']);
    });

    test('a deleted key is gone at once, for another process too', async () => {
      await create(key('a'));
      const other = await opened.openAnother();
      expect(await registry.deleteApiKey('a', event('api_key.delete', 'a'))).toBe(true);
      expect(await other.findApiKeyByHash(hash(1))).toBeUndefined();
      expect(await other.deleteApiKey('a', event('api_key.delete', 'a'))).toBe(false);
      await other.close();
      expect(await audited()).toEqual(['api_key.create', 'api_key.delete']);
    });

    test('its use is remembered, of one that is gone not, and neither is an act', async () => {
      await create(key('b'));
      await create(key('a', { hash: hash(2) }));
      await registry.touchApiKey('a', 77);
      await registry.touchApiKey('ghost', 77);
      expect((await registry.listApiKeys()).map((one) => [one.name, one.lastUsedAtMs])).toEqual([
        ['a', 77],
        ['b', undefined],
      ]);
      expect(await audited()).toEqual(['api_key.create', 'api_key.create']);
    });
  });
}
