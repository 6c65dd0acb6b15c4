import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ClientFilter, CreationKey } from '../../issuer/registry/client-changes.ts';
import type { ClientRecord, NewClientRecord, Registry } from '../../issuer/registry/registry.ts';
import { client, event, NOW, type OpenedRegistry, ofClient } from './registry-contract.ts';

const ofQuarantine = (clientId: string) => ({ ...ofClient(clientId), isQuarantined: true as const });

const key = (more: Partial<CreationKey> = {}): CreationKey => ({
  owner: 'default',
  keyHash: new Uint8Array(32).fill(1),
  requestHash: new Uint8Array(32).fill(2),
  notBeforeMs: 0,
  ...more,
});

/** What every implementation keeps of the acts on registered clients. */
export function clientChangesContract(name: string, open: () => Promise<OpenedRegistry>): void {
  describe(`${name} keeps the contract of changes of clients`, () => {
    let opened: OpenedRegistry;
    let registry: Registry;
    beforeEach(async () => {
      opened = await open();
      registry = opened.registry;
    });
    afterEach(() => opened.dispose());

    const find = async (clientId: string): Promise<ClientRecord> => {
      const found = await registry.findClient(clientId);
      if (found === undefined) throw new Error('not found');
      return found;
    };
    const register = async (clientId: string, more: Partial<NewClientRecord> = {}): Promise<ClientRecord> => {
      await registry.createClient(client(clientId, more), event('client.create', clientId));
      return find(clientId);
    };
    const update = (record: ClientRecord) =>
      registry.updateClient(record, event('client.update', record.clientId));
    const quarantine = (clientId: string, reason = 'lost') =>
      registry.quarantineClient(ofQuarantine(clientId), reason, event('client.quarantine', clientId));
    const release = (clientId: string) => registry.releaseClient(clientId, event('client.release', clientId));
    const lastAct = async () => (await registry.listEvents({ limit: 1000 })).at(-1)?.action;
    const revocations = () => registry.listRevocations({ nowSeconds: NOW, limit: 1000 });

    test('a change replaces all that is registered, and counts', async () => {
      const before = await register('a', { labels: { hw: '1' }, group: 'g' });
      const after: ClientRecord = {
        ...before,
        name: 'n',
        scope: 'x',
        audience: ['api'],
        authMethod: 'client_secret_post',
        grantTypes: [],
        group: undefined,
        labels: { line: '3' },
        metadata: { m: [1] },
        tokenLifetimeSeconds: 5,
        supertokens: { clientUri: 'x' },
        updatedAtMs: 9,
      };
      expect(await update(after)).toBe(true);
      expect(await find('a')).toEqual({ ...after, revision: before.revision + 1 });
      expect(await lastAct()).toBe('client.update');
    });

    test('a change of what was changed since, deleted, or registered again writes nothing', async () => {
      const first = await register('a');
      expect(await update({ ...first, name: 'one' })).toBe(true);
      expect(await update({ ...first, name: 'two' })).toBe(false);
      expect((await find('a')).name).toBe('one');
      expect(await registry.deleteClient(ofClient('a'), event('client.delete', 'a'))).toBe(true);
      expect(await update({ ...first, name: 'three' })).toBe(false);
      await register('a');
      expect(await update({ ...first, name: 'four' })).toBe(false);
      expect((await find('a')).name).toBeUndefined();
      expect(await lastAct()).toBe('client.create');
    });

    test('a change with a revocation is one act with it', async () => {
      const found = await register('a');
      const changing = registry.updateClient(found, event('client.update', 'a'), ofClient('a'));
      const stale = registry.updateClient(found, event('client.update', 'a'), ofClient('a'));
      expect([await changing, await stale]).toEqual([true, false]);
      expect(await revocations()).toMatchObject([ofClient('a')]);
    });

    test('a deletion of the client as it was read is refused when it is another now', async () => {
      const first = await register('a');
      const remove = (only: ClientRecord) =>
        registry.deleteClient(ofClient('a'), event('client.delete', 'a'), only);
      await update({ ...first, name: 'n' });
      expect(await remove(first)).toBe(false);
      expect(await revocations()).toEqual([]);
      expect(await remove(await find('a'))).toBe(true);
      const again = await register('a');
      expect(await remove(first)).toBe(false);
      expect(await remove(again)).toBe(true);
    });

    test('no token is recorded for a client that was changed or put into quarantine since it was read', async () => {
      const record = (one: ClientRecord) =>
        registry.recordIssuedToken(one, { issuedAtSeconds: NOW + 5 }, event('token.issue', 'a'));
      const first = await register('a');
      await update({ ...first, scope: 'x' });
      expect(await record(first)).toEqual({ outcome: 'registration_changed' });
      const second = await find('a');
      await quarantine('a');
      expect(await record(second)).toEqual({ outcome: 'registration_changed' });
      expect(await lastAct()).toBe('client.quarantine');
      await release('a');
      expect(await record(await find('a'))).toEqual({ outcome: 'recorded' });
    });

    test('quarantine holds a reason and a time, revokes once, and ends', async () => {
      await register('a');
      expect(await quarantine('a', 'lost')).toBe(true);
      const { atMs } = (await find('a')).quarantine ?? {};
      expect(await quarantine('a', 'sold')).toBe(true);
      expect((await find('a')).quarantine).toEqual({ atMs, reason: 'sold' });
      expect(await revocations()).toMatchObject([ofQuarantine('a')]);
      expect(await release('a')).toBe(true);
      expect((await find('a')).quarantine).toBeUndefined();
      expect(await release('a')).toBe(false);
      expect(await lastAct()).toBe('client.release');
    });

    test('quarantine is marked, though the client was revoked to that second, and a revocation is not', async () => {
      await register('a');
      const revoke = () => registry.revoke(ofClient('a'), event('client.revoke', 'a'));
      expect(await revoke()).toMatchObject({ outcome: 'recorded' });
      await quarantine('a');
      const marks = async () =>
        (await revocations()).map((one) => one.kind === 'client' && one.isQuarantined === true);
      expect(await marks()).toEqual([false, true]);
      // What the marked one takes back is as much.
      expect(await revoke()).toMatchObject({ outcome: 'already' });
      await release('a');
      const later = ofClient('a', NOW + 100);
      expect(await registry.revoke(later, event('client.revoke', 'a'))).toMatchObject({
        outcome: 'recorded',
      });
      expect(await marks()).toEqual([false, true, false]);
    });

    test('quarantine and release of no client write nothing', async () => {
      expect([await quarantine('ghost'), await release('ghost')]).toEqual([false, false]);
      expect(await registry.listEvents({ limit: 10 })).toEqual([]);
      expect(await revocations()).toEqual([]);
    });

    describe('a creation under a key', () => {
      const createOnce = (clientId: string, one = key()) =>
        registry.createClientOnce(client(clientId), one, event('client.create', clientId));

      test('is done once: the same again answers what it made, and another request is told apart', async () => {
        expect(await createOnce('a')).toEqual({ outcome: 'created' });
        expect(await createOnce('b')).toMatchObject({ outcome: 'repeated', client: { clientId: 'a' } });
        const other = key({ requestHash: new Uint8Array(32).fill(9) });
        expect(await createOnce('b', other)).toEqual({ outcome: 'key_reused' });
        expect(await registry.findClient('b')).toBeUndefined();
        expect(await registry.listEvents({ limit: 10 })).toHaveLength(1);
      });

      test('is of its owner, and of its time', async () => {
        await createOnce('a');
        expect(await createOnce('b', key({ owner: 'ci' }))).toEqual({ outcome: 'created' });
        const later = event('client.create', 'a').atMs + 1;
        expect(await createOnce('c', key({ notBeforeMs: later }))).toEqual({ outcome: 'created' });
        expect(await createOnce('d')).toMatchObject({ outcome: 'repeated', client: { clientId: 'c' } });
      });

      test('that failed is not remembered, and one that was deleted is not made again', async () => {
        await register('a');
        expect(await createOnce('a')).toEqual({ outcome: 'conflict' });
        expect(await createOnce('b')).toEqual({ outcome: 'created' });
        await registry.deleteClient(ofClient('b'), event('client.delete', 'b'));
        await register('b');
        expect(await createOnce('b')).toEqual({ outcome: 'repeated', client: undefined });
      });

      test('asked for many times at once, by two connections, makes one client', async () => {
        const other = await opened.openAnother();
        const outcomes = await Promise.all(
          Array.from({ length: 20 }, (_, i) => {
            const through = i % 2 === 0 ? registry : other;
            return through.createClientOnce(client(`c${i}`), key(), event('client.create', `c${i}`));
          }),
        );
        await other.close();
        expect(outcomes.filter(({ outcome }) => outcome === 'created')).toHaveLength(1);
        expect(await registry.listClients({ limit: 100 })).toHaveLength(1);
      });
    });

    test('a list with filters is the whole list, filtered, in each page size', async () => {
      const one = fc.record({
        group: fc.constantFrom(undefined, 'g', 'h'),
        name: fc.constantFrom(undefined, 'n', 'N'),
        labels: fc.dictionary(fc.constantFrom('hw', 'line'), fc.constantFrom('1', '2')),
        isQuarantined: fc.boolean(),
        isChanged: fc.boolean(),
      });
      const filter = fc.record<ClientFilter>({
        group: fc.constantFrom(undefined, 'g'),
        name: fc.constantFrom(undefined, 'n'),
        label: fc.constantFrom(undefined, { name: 'hw', value: '1' }),
        isQuarantined: fc.constantFrom(undefined, true, false),
      });
      await fc.assert(
        fc.asyncProperty(
          fc.array(one, { maxLength: 8 }),
          filter,
          fc.integer({ min: 1, max: 9 }),
          async (all, by, limit) => {
            const fits: string[] = [];
            for (const [i, { group, name, labels, isQuarantined, isChanged }] of all.entries()) {
              const id = `c${i}`;
              const made = await register(
                id,
                isChanged ? { group: 'g', name: 'n', labels: { hw: '1' } } : { group, name, labels },
              );
              if (isChanged) await update({ ...made, group, name, labels });
              if (isQuarantined) await quarantine(id);
              const isFit =
                (by.group === undefined || by.group === group) &&
                (by.name === undefined || by.name === name) &&
                (by.label === undefined || labels['hw'] === '1') &&
                (by.isQuarantined === undefined || by.isQuarantined === isQuarantined);
              if (isFit) fits.push(id);
            }
            const found: string[] = [];
            for (;;) {
              const after = found.at(-1) ?? '';
              const page = await registry.listClients({ limit, after, filter: by });
              found.push(...page.map(({ clientId }) => clientId));
              if (page.length < limit) break;
            }
            expect(found).toEqual(fits);
            for (const i of all.keys())
              await registry.deleteClient(ofClient(`c${i}`), event('client.delete', `c${i}`));
          },
        ),
        { numRuns: 60 },
      );
    });
  });
}
