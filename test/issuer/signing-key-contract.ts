import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type AuditEvent, auditEvent } from '../../issuer/audit.ts';
import type { Registry } from '../../issuer/registry/registry.ts';
import type {
  SigningKeyChange,
  SigningKeyState,
  StoredSigningKey,
} from '../../issuer/registry/signing-key-registry.ts';
import type { NewRevocation } from '../../issuer/revocation.ts';
import type { OpenedRegistry } from './registry-contract.ts';

const NOW_MS = 1_700_000_000_000;

/** A key as a registry keeps it. */
export function signingKey(
  kid: string,
  state: SigningKeyState = 'active',
  createdAtMs = 1,
): StoredSigningKey {
  return {
    kid,
    algorithm: 'ES256',
    publicJwk: { kty: 'EC', x: kid },
    encryptedPrivateJwk: state === 'retired' ? undefined : Buffer.from([1, 2, 3]),
    state,
    createdAtMs,
    publishedAtMs: createdAtMs,
    isWanted: false,
    activatedAtMs: state === 'next' ? undefined : 2,
    retiredAtMs: state === 'retired' ? 3 : undefined,
    publishedUntilMs: state === 'retired' ? NOW_MS + 4 : undefined,
  };
}

/** A change of the keys as they are now. */
export async function changeKeys(registry: Registry, change: Partial<SigningKeyChange>) {
  const { revision } = await registry.signingKeys();
  return registry.changeSigningKeys({ revision, atMs: NOW_MS, put: [], removed: [], events: [], ...change });
}

export const putKeys = (registry: Registry, put: readonly StoredSigningKey[]) =>
  changeKeys(registry, { put });

/** Revokes a key, and answers as the registry does for what else can be revoked. */
export async function revokeKey(
  registry: Registry,
  revocation: NewRevocation & { kind: 'key' },
  event: AuditEvent,
) {
  const removed = [revocation.keyId];
  const changed = await changeKeys(registry, { removed, revocation, events: [event], atMs: event.atMs });
  return changed.outcome === 'changed' ? { outcome: 'recorded', revocation: changed.revocation } : changed;
}

/** What every implementation of the port keeps as to signing keys. */
export function signingKeyContract(name: string, open: () => Promise<OpenedRegistry>): void {
  describe(`${name} keeps the contract of a registry of signing keys`, () => {
    let opened: OpenedRegistry;
    let registry: Registry;

    beforeEach(async () => {
      opened = await open();
      registry = opened.registry;
    });
    afterEach(() => opened.dispose());

    const kids = async (of = registry) => (await of.signingKeys()).keys.map(({ kid }) => kid);
    const event = (target: string) =>
      auditEvent({ atMs: NOW_MS, actor: 'issuer', action: 'key.activate', target });
    const targets = async () => (await registry.listEvents({ limit: 100 })).map(({ target }) => target);

    test('keys come back as they were put, the active first, then the next, then the retired from new to old', async () => {
      const keys = [
        signingKey('k1'),
        { ...signingKey('k2', 'next'), isWanted: true },
        signingKey('k4', 'retired', 5),
        signingKey('k3', 'retired', 4),
      ];
      await putKeys(registry, keys.toReversed());
      expect((await registry.signingKeys()).keys).toEqual(keys);
    });

    test('each change has another revision, which its answer holds', async () => {
      const before = await registry.signingKeyRevision();
      const changed = await putKeys(registry, [signingKey('k1')]);
      expect(changed).toEqual({
        outcome: 'changed',
        set: await registry.signingKeys(),
        revocation: undefined,
      });
      expect(await registry.signingKeyRevision()).toBe((await registry.signingKeys()).revision);
      expect(await registry.signingKeyRevision()).not.toBe(before);
    });

    test('of changes made from one revision the first is done; the others write nothing', async () => {
      const { revision } = await registry.signingKeys();
      const another = await opened.openAnother();
      const outcomes = await Promise.all(
        [registry, another, registry].map((of, index) =>
          of.changeSigningKeys({
            revision,
            atMs: NOW_MS,
            put: [signingKey(`k${index}`)],
            removed: [],
            events: [event(`k${index}`)],
          }),
        ),
      );
      expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['changed', 'outdated', 'outdated']);
      expect(await kids()).toHaveLength(1);
      expect(await targets()).toEqual(await kids());
      expect(await kids(another)).toEqual(await kids());
      await another.close();
    });

    test.each(['active', 'next'] as const)(
      'a second %s key is refused, and nothing is written',
      async (state) => {
        await putKeys(registry, [signingKey('k1', state)]);
        const change = { put: [signingKey('k2', state)], events: [event('k2')] };
        await expect(changeKeys(registry, change)).rejects.toMatchObject({ code: 'registry_unavailable' });
        expect(await kids()).toEqual(['k1']);
        expect(await targets()).toEqual([]);
      },
    );

    test('keys may change places in one change', async () => {
      await putKeys(registry, [signingKey('k1'), signingKey('k2', 'next')]);
      await putKeys(registry, [signingKey('k3', 'next'), signingKey('k2'), signingKey('k1', 'retired')]);
      expect((await registry.signingKeys()).keys.map(({ kid, state }) => [kid, state])).toEqual([
        ['k2', 'active'],
        ['k3', 'next'],
        ['k1', 'retired'],
      ]);
    });

    test('a retired key lasts longer by what the clock was set back since the last act', async () => {
      await putKeys(registry, [signingKey('k1')]);
      await registry.recordEvent(
        auditEvent({ atMs: NOW_MS + 3_600_000, actor: 'issuer', action: 'token.issue' }),
      );
      await putKeys(registry, [signingKey('k1', 'retired')]);
      const [retired] = (await registry.signingKeys()).keys;
      expect(retired?.publishedUntilMs).toBe(NOW_MS + 3_600_004);
    });

    test('a token is recorded only while the key that signed it is active', async () => {
      await registry.createClient(
        {
          clientId: 'a',
          name: undefined,
          scope: '',
          audience: [],
          authMethod: 'client_secret_basic',
          grantTypes: [],
          group: undefined,
          labels: {},
          metadata: {},
          tokenLifetimeSeconds: undefined,
          secrets: [],
          supertokens: {},
          createdAtMs: 1,
          updatedAtMs: 1,
        },
        event('a'),
      );
      const client = await registry.findClient('a');
      if (client === undefined) throw new Error('not registered');
      await putKeys(registry, [signingKey('k1'), signingKey('k2', 'next')]);
      const record = (kid: string) =>
        registry.recordIssuedToken(client, { issuedAtSeconds: 1, keyId: kid }, event(kid));
      expect(await record('k1')).toEqual({ outcome: 'recorded' });
      for (const kid of ['k2', 'nobody']) expect(await record(kid)).toEqual({ outcome: 'key_retired' });
      await putKeys(registry, [signingKey('k1', 'retired')]);
      expect(await record('k1')).toEqual({ outcome: 'key_retired' });
      expect(await targets()).toEqual(['a', 'k1']);
    });

    const revocation = { kind: 'key', keyId: 'k1', expiresAtSeconds: 2_000_000_000 } as const;

    test('a key is revoked, removed and replaced in one change', async () => {
      await putKeys(registry, [signingKey('k1')]);
      const change = { removed: ['k1'], put: [signingKey('k2')], revocation, events: [event('k1')] };
      expect(await changeKeys(registry, change)).toMatchObject({ outcome: 'changed', revocation });
      expect(await kids()).toEqual(['k2']);
      expect(await registry.listRevocations({ nowSeconds: 0, limit: 10 })).toMatchObject([revocation]);
    });

    test('a key that was revoked before is answered with that, also when it is gone', async () => {
      await putKeys(registry, [signingKey('k1')]);
      await revokeKey(registry, revocation, event('k1'));
      const { revision } = await registry.signingKeys();
      expect(await changeKeys(registry, { revocation, events: [event('k1')] })).toMatchObject({
        outcome: 'already',
        revocation,
      });
      expect(await registry.signingKeyRevision()).toBe(revision);
      expect(await targets()).toEqual(['k1']);
    });

    test('a key that is not there cannot be revoked', async () => {
      expect(await changeKeys(registry, { revocation, events: [event('k1')] })).toEqual({
        outcome: 'key_unknown',
      });
      expect(await targets()).toEqual([]);
    });
  });
}
