import { FleetgateError, isKeyId, OAuthError } from '@fleetgate/shared';
import { administrativeActs } from '../administrative-act.ts';
import { adminActor } from '../audit.ts';
import type { Administrator } from '../clients.ts';
import type { Registry } from '../registry/registry.ts';
import type { StoredSigningKey } from '../registry/signing-key-registry.ts';
import { expiring } from '../revocation.ts';
import { REVOKED_ALREADY, type RevocationMade } from '../revocations.ts';
import {
  byState,
  compromiseActs,
  MAX_PUBLISHED_KEYS,
  plannedActivationMs,
  type RotationPolicy,
  retireActs,
  rotateActs,
} from './lifecycle.ts';
import { type SigningKeys, unknownKey } from './signing-keys.ts';

/** A key as administrators see it: never with its private half. */
export interface KeyView extends Omit<StoredSigningKey, 'publicJwk' | 'encryptedPrivateJwk' | 'isWanted'> {
  /** Of the next key: when it is going to sign. */
  readonly activatesAtMs: number | undefined;
}

/** The administrative acts on signing keys. Each, done or refused, is in the audit trail before its promise settles. */
export interface KeyAdministration {
  /** The active key, the next one, then the retired from new to old. */
  list(): Promise<readonly KeyView[]>;
  /**
   * The next key is to be the active one: at once where verifiers have it, or where that does not matter; else as soon
   * as they have it. All keys afterwards, and whether it is active now.
   * @throws FleetgateError `key_conflict` when too many keys are published
   */
  rotate(
    options: { readonly isImmediate: boolean },
    by: Administrator,
  ): Promise<{ readonly keys: readonly KeyView[]; readonly isDone: boolean }>;
  /**
   * A key signs nothing from now on. What it has signed stays good. All keys afterwards, and whether it had signed
   * until now.
   * @throws FleetgateError `key_unknown`, `key_conflict`, `invalid_request`
   */
  retire(
    kid: string,
    by: Administrator,
  ): Promise<{ readonly keys: readonly KeyView[]; readonly isRepeated: boolean }>;
  /**
   * Somebody else has this key: it is published no longer, and all it has signed is revoked. If it was the active one a
   * new key is, in the same act.
   * @throws FleetgateError `key_unknown`, `invalid_request`
   */
  revoke(kid: string, by: Administrator): Promise<RevocationMade>;
}

export interface KeyAdministrationContext {
  readonly keys: SigningKeys;
  readonly registry: Registry;
  readonly policy: RotationPolicy;
  readonly now: () => number;
  /** Called after an act that revoked tokens. */
  readonly onRevoked: () => void;
}

export function keyAdministration(context: KeyAdministrationContext): KeyAdministration {
  const { keys, registry, policy, now, onRevoked } = context;
  const { event, recorded } = administrativeActs(registry, now);
  const actorOf = (by: Administrator) => ({ actor: adminActor(by.keyName), caller: by });
  const views = (all: readonly StoredSigningKey[]) => all.map((key) => viewOf(key, all, policy));

  return {
    async list() {
      await keys.reload();
      return views((await registry.signingKeys()).keys);
    },
    rotate: ({ isImmediate }, by) =>
      recorded('key.schedule', undefined, by, async () => {
        const changed = await keys.change({
          by: actorOf(by),
          decide: (all, nowMs) => {
            const acts = rotateActs(all, nowMs, { isImmediate, policy });
            if (acts.some(({ kind }) => kind === 'activate')) checkRoom(all);
            return acts;
          },
        });
        const isDone = changed.acts.some(({ kind }) => kind === 'activate');
        return { keys: views(changed.keys), isDone };
      }),
    retire: (kid, by) =>
      recorded('key.retire', kid, by, async () => {
        checkKeyId(kid);
        const changed = await keys.change({
          by: actorOf(by),
          decide: (all) => {
            const acts = retireActs(all, find(all, kid));
            if (acts.length > 0) checkRoom(all);
            return acts;
          },
        });
        return { keys: views(changed.keys), isRepeated: changed.acts.length === 0 };
      }),
    revoke: (kid, by) =>
      recorded('key.revoke', kid, by, async () => {
        checkKeyId(kid);
        const revoking = event(by, 'key.revoke', kid);
        const revocation = expiring({ kind: 'key', keyId: kid } as const, Math.floor(revoking.atMs / 1000));
        const changed = await keys.change({
          by: actorOf(by),
          event: revoking,
          revocation,
          // Of one that is gone the registry finds the revocation again, if there was one.
          decide: (all) => {
            const key = all.find((one) => one.kid === kid);
            return key === undefined ? [] : compromiseActs(all, key);
          },
        });
        const made = changed.revocation ?? unknownKey();
        if (made.isRepeated) await registry.recordEvent({ ...revoking, result: REVOKED_ALREADY });
        else onRevoked();
        return made;
      }),
  };
}

function viewOf(key: StoredSigningKey, all: readonly StoredSigningKey[], policy: RotationPolicy): KeyView {
  const { publicJwk, encryptedPrivateJwk, isWanted, ...view } = key;
  return {
    ...view,
    activatesAtMs: key === byState(all).next ? plannedActivationMs(all, policy) : undefined,
  };
}

function find(all: readonly StoredSigningKey[], kid: string): StoredSigningKey {
  return all.find((key) => key.kid === kid) ?? unknownKey();
}

// A verifier that takes so many keys of an issuer and no more must not lose all of them.
function checkRoom(all: readonly StoredSigningKey[]): void {
  if (all.length < MAX_PUBLISHED_KEYS) return;
  throw new FleetgateError(
    'key_conflict',
    `${all.length} keys are published already, and verifiers take no more; the oldest retired one leaves first`,
  );
}

function checkKeyId(kid: string): void {
  if (!isKeyId(kid)) throw new OAuthError('invalid_request', 'kid must be 1 to 256 visible ASCII characters');
}
