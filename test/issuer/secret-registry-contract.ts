import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type AuditEvent, auditEvent } from '../../issuer/audit.ts';
import type { SecretPosition, SecretQuery, SecretRotation } from '../../issuer/registry/secret-registry.ts';
import {
  type ClientSecret,
  hashSecret,
  LAST_USE_GRANULARITY_MS,
  unusedSecret,
} from '../../issuer/secrets.ts';
import type { OpenedRegistry } from './registry-contract.ts';

/** Milliseconds; every test begins here. */
const NOW = 1_700_000_000_000;
const MINUTE = 60_000;

const event = (action: AuditEvent['action'], target: string, atMs = NOW): AuditEvent =>
  auditEvent({ atMs, actor: 'admin:default', action, target });

/** What every implementation of the port keeps about secrets. */
export function secretRegistryContract(name: string, open: () => Promise<OpenedRegistry>): void {
  describe(`${name} keeps the contract of a registry of secrets`, () => {
    let opened: OpenedRegistry;
    let registry: OpenedRegistry['registry'];

    beforeEach(async () => {
      opened = await open();
      registry = opened.registry;
    });
    afterEach(() => opened.dispose());

    async function register(clientId: string, secrets: readonly ClientSecret[]): Promise<number> {
      await registry.createClient(
        {
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
          secrets,
          supertokens: {},
          createdAtMs: NOW,
          updatedAtMs: NOW,
        },
        event('client.create', clientId),
      );
      return (await registry.findClient(clientId))?.registration as number;
    }
    const made = (createdAtMs = NOW, expiresAtMs?: number) =>
      unusedSecret({ hash: hashSecret(String(Math.random())) }, { createdAtMs, expiresAtMs });
    const rotate = (clientId: string, secret: ClientSecret, more: Partial<SecretRotation> = {}) =>
      registry.rotateSecret(
        { clientId, secret, olderEndAtMs: undefined, olderEndOnSuccession: false, ...more },
        event('secret.rotate', clientId, secret.createdAtMs),
      );
    const use = (registration: number, { secretId }: ClientSecret, atMs: number) =>
      registry.recordSecretUse(
        { registration, secretId, atMs, succeededEndAtMs: atMs + MINUTE },
        event('secret.first_use', 'a', atMs),
      );
    const secretsOf = async (clientId: string) => (await registry.findClient(clientId))?.secrets ?? [];
    const ends = async (clientId: string) =>
      (await secretsOf(clientId)).map(({ secretId, expiresAtMs }) => [secretId, expiresAtMs]);
    const actions = async () => (await registry.listEvents({ limit: 1000 })).map(({ action }) => action);

    test('a rotation adds the new secret after the old one, whose end it sets, in one act with its event', async () => {
      const [old, fresh] = [made(), made(NOW + 1, NOW + 9 * MINUTE)];
      await register('a', [old]);
      const rotated = await rotate('a', fresh, { olderEndAtMs: NOW + MINUTE });
      expect(rotated).toMatchObject({
        outcome: 'rotated',
        secrets: [
          { secretId: old.secretId, expiresAtMs: NOW + MINUTE },
          { secretId: fresh.secretId, expiresAtMs: NOW + 9 * MINUTE },
        ],
      });
      expect(await secretsOf('a')).toEqual('secrets' in rotated ? rotated.secrets : undefined);
      expect((await registry.listEvents({ limit: 9 })).at(-1)).toMatchObject(
        event('secret.rotate', 'a', NOW + 1),
      );
    });

    test('a third live secret is refused and nothing is written', async () => {
      const [old, fresh] = [made(), made(NOW + 1)];
      await register('a', [old]);
      await rotate('a', fresh, { olderEndAtMs: NOW + MINUTE });
      expect(await rotate('a', made(NOW + 2), { olderEndAtMs: NOW + 9 * MINUTE })).toMatchObject({
        outcome: 'too_many',
        secrets: [{ secretId: old.secretId }, { secretId: fresh.secretId }],
      });
      expect(await ends('a')).toEqual([
        [old.secretId, NOW + MINUTE],
        [fresh.secretId, undefined],
      ]);
      expect(await actions()).toEqual(['client.create', 'secret.rotate']);
    });

    test('a rotation that ends the older at once always has room, and keeps the one before it', async () => {
      const [first, second, third] = [made(), made(NOW + 1), made(NOW + 2)];
      await register('a', [first]);
      await rotate('a', second);
      await rotate('a', third, { olderEndAtMs: NOW + 2 });
      expect(await ends('a')).toEqual([
        [second.secretId, NOW + 2],
        [third.secretId, undefined],
      ]);
    });

    test('an ended secret gives way to a new one and is not brought back', async () => {
      const [first, second, third] = [made(NOW, NOW + MINUTE), made(NOW + 1), made(NOW + MINUTE)];
      await register('a', [first]);
      await rotate('a', second);
      expect(await rotate('a', third)).toMatchObject({ outcome: 'rotated' });
      expect(await ends('a')).toEqual([
        [second.secretId, undefined],
        [third.secretId, undefined],
      ]);
    });

    test('a rotation never lets a secret live beyond the end it was made with, but undoes what an earlier one set', async () => {
      const [old, lost, fresh] = [made(NOW, NOW + 5 * MINUTE), made(NOW + 1), made(NOW + 3)];
      await register('a', [old]);
      await rotate('a', lost, { olderEndAtMs: NOW + MINUTE });
      await registry.endSecret('a', lost.secretId, event('secret.end', 'a', NOW + 2));
      await rotate('a', fresh, { olderEndAtMs: NOW + 9 * MINUTE });
      expect(await ends('a')).toEqual([
        [old.secretId, NOW + 5 * MINUTE],
        [fresh.secretId, undefined],
      ]);
    });

    test('of concurrent rotations one has room', async () => {
      await register('a', [made()]);
      const another = await opened.openAnother();
      const rotations = await Promise.all(
        Array.from({ length: 10 }, (_, i) =>
          (i % 2 === 0 ? registry : another).rotateSecret(
            {
              clientId: 'a',
              secret: made(NOW + 1),
              olderEndAtMs: NOW + MINUTE,
              olderEndOnSuccession: false,
            },
            event('secret.rotate', 'a'),
          ),
        ),
      );
      await another.close();
      expect(rotations.filter(({ outcome }) => outcome === 'rotated')).toHaveLength(1);
      expect((await actions()).filter((action) => action === 'secret.rotate')).toHaveLength(1);
      expect(await secretsOf('a')).toHaveLength(2);
    });

    test('a rotation may revoke the tokens in the same act', async () => {
      await register('a', [made()]);
      const atSeconds = NOW / 1000;
      const revocation = {
        kind: 'client',
        clientId: 'a',
        atSeconds,
        expiresAtSeconds: atSeconds + 9,
      } as const;
      await rotate('a', made(NOW + 1), { olderEndAtMs: NOW + 1, revocation });
      expect(await registry.listRevocations({ nowSeconds: atSeconds, limit: 9 })).toMatchObject([revocation]);
      await rotate('a', made(NOW + 2), { revocation: { ...revocation, atSeconds: atSeconds + 1 } });
      await rotate('a', made(NOW + 3), { revocation: { ...revocation, atSeconds: atSeconds + 2 } });
      expect(await registry.listRevocations({ nowSeconds: atSeconds, limit: 9 })).toHaveLength(2);
    });

    test('the first use is recorded once, with its event, whoever else uses it at once', async () => {
      const secret = made();
      const registration = await register('a', [secret]);
      const another = await opened.openAnother();
      await Promise.all(
        [registry, another, registry, another].map((each, i) =>
          each.recordSecretUse(
            {
              registration,
              secretId: secret.secretId,
              atMs: NOW + 5 + i,
              succeededEndAtMs: NOW + MINUTE,
            },
            event('secret.first_use', 'a'),
          ),
        ),
      );
      await another.close();
      const [{ firstUsedAtMs, lastUsedAtMs } = secret] = await secretsOf('a');
      expect(lastUsedAtMs).toBe(firstUsedAtMs);
      expect((await actions()).filter((action) => action === 'secret.first_use')).toHaveLength(1);
    });

    test('later uses are remembered to the day, without an event', async () => {
      const secret = made();
      const registration = await register('a', [secret]);
      const day = LAST_USE_GRANULARITY_MS;
      const seen = [];
      for (const atMs of [NOW, NOW + day - 1, NOW + day, NOW + 3 * day, NOW + 2 * day]) {
        await use(registration, secret, atMs);
        const [found] = await secretsOf('a');
        expect(found?.firstUsedAtMs).toBe(NOW);
        seen.push(found?.lastUsedAtMs);
      }
      expect(seen).toEqual([NOW, NOW, NOW + day, NOW + 3 * day, NOW + 3 * day]);
      expect(await actions()).toEqual(['client.create', 'secret.first_use']);
    });

    test('the first use of the new secret ends the old one that waited for it, and no other does', async () => {
      const [old, fresh] = [made(), made(NOW + 1)];
      const registration = await register('a', [old]);
      await rotate('a', fresh, { olderEndOnSuccession: true });
      await use(registration, old, NOW + 2);
      expect(await ends('a')).toEqual([
        [old.secretId, undefined],
        [fresh.secretId, undefined],
      ]);
      await use(registration, fresh, NOW + 3);
      expect(await ends('a')).toEqual([
        [old.secretId, NOW + 3 + MINUTE],
        [fresh.secretId, undefined],
      ]);
    });

    test('the first use of the new secret does not let the old one live longer', async () => {
      const [old, fresh] = [made(), made(NOW + 1)];
      const registration = await register('a', [old]);
      await rotate('a', fresh, { olderEndOnSuccession: true, olderEndAtMs: NOW + 5 });
      await use(registration, fresh, NOW + 3);
      expect(await ends('a')).toEqual([
        [old.secretId, NOW + 5],
        [fresh.secretId, undefined],
      ]);
    });

    test('an old secret that does not wait for the new one goes on when that is used', async () => {
      const [old, fresh] = [made(), made(NOW + 1)];
      const registration = await register('a', [old]);
      await rotate('a', fresh, { olderEndAtMs: NOW + 9 * MINUTE });
      await use(registration, fresh, NOW + 3);
      expect(await ends('a')).toEqual([
        [old.secretId, NOW + 9 * MINUTE],
        [fresh.secretId, undefined],
      ]);
    });

    test('a secret is ended once; what is not there writes nothing', async () => {
      const secret = made();
      await register('a', [secret]);
      const end = (clientId: string, secretId: string) =>
        registry.endSecret(clientId, secretId, event('secret.end', clientId, NOW + 5));
      expect(await end('b', secret.secretId)).toBe('client_unknown');
      expect(await end('a', 'other')).toBe('secret_unknown');
      expect(await end('a', secret.secretId)).toBe('ended');
      expect(await end('a', secret.secretId)).toBe('already');
      expect(await ends('a')).toEqual([[secret.secretId, NOW + 5]]);
      expect(await actions()).toEqual(['client.create', 'secret.end']);
    });

    test('a rotation, a use and an end of nobody write nothing', async () => {
      expect(await rotate('nobody', made())).toEqual({ outcome: 'client_unknown' });
      await use(7, made(), NOW);
      expect(await actions()).toEqual([]);
    });

    describe('the list of secrets', () => {
      async function pages(
        query: { state: 'never_used' } | { state: 'expiring'; untilMs: number },
        nowMs = NOW,
      ) {
        const ids: string[] = [];
        let after: SecretPosition | undefined;
        for (;;) {
          const page = await registry.listSecrets({ ...query, nowMs, limit: 2, after } as SecretQuery);
          ids.push(...page.map(({ clientId, secretId }) => `${clientId} ${secretId}`));
          after = page.at(-1)?.position;
          if (page.length < 2) return ids;
        }
      }
      const named = (clientId: string, { secretId }: ClientSecret) => `${clientId} ${secretId}`;

      test('never used has the live ones from old to new, page by page, also those made at one time', async () => {
        const expected: string[] = [];
        for (const [clientId, createdAtMs] of [
          ['c', NOW - 5],
          ['b', NOW - 3],
          ['d', NOW - 3],
          ['a', NOW - 3],
          ['e', NOW],
        ] as const) {
          const secret = made(createdAtMs);
          await register(clientId, [secret]);
          expected.push(named(clientId, secret));
        }
        const used = made(NOW - 9);
        await use(await register('used', [used]), used, NOW);
        await register('ended', [made(NOW - 4, NOW)]);
        const both = [made(NOW + 1), made(NOW + 1)];
        await register('two', both);
        expected.push(...both.map((one) => named('two', one)));
        expect(await pages({ state: 'never_used' })).toEqual(expected);
      });

      test('expiring has the live ones that end by then, the next to end first', async () => {
        const until = new Map<string, number>([
          ['d', NOW + 1],
          ['b', NOW + 2],
          ['c', NOW + 2],
          ['a', NOW + 3],
        ]);
        const expected: string[] = [];
        for (const [clientId, expiresAtMs] of until) {
          const secret = made(NOW - 9, expiresAtMs);
          await register(clientId, [secret]);
          expected.push(named(clientId, secret));
        }
        await register('later', [made(NOW, NOW + 4)]);
        await register('never', [made(NOW)]);
        await register('ended', [made(NOW - 5, NOW)]);
        expect(await pages({ state: 'expiring', untilMs: NOW + 3 })).toEqual(expected);
      });

      test('of a client that was deleted is empty', async () => {
        await register('a', [made(NOW, NOW + 5)]);
        const atSeconds = NOW / 1000;
        await registry.deleteClient(
          { kind: 'client', clientId: 'a', atSeconds, expiresAtSeconds: atSeconds },
          event('client.delete', 'a'),
        );
        expect(await pages({ state: 'never_used' })).toEqual([]);
        expect(await pages({ state: 'expiring', untilMs: NOW + 9 })).toEqual([]);
      });
    });
  });
}
