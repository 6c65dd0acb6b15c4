import type { SigningAlgorithm } from '@fleetgate/shared';
import type { StoredSigningKey } from '../registry/signing-key-registry.ts';
import { goneAfter } from '../revocation.ts';
import { MAX_ISSUED_AHEAD_SECONDS, MAX_TOKEN_LIFETIME_SECONDS } from '../token-lifetime.ts';

/**
 * Keys published at once. Ours: half of what our own verifiers take of one issuer; retired keys stay for a day, so
 * this is more than one rotation an hour.
 */
export const MAX_PUBLISHED_KEYS = 32;

/** How long a retired key is published: until no token it signed is accepted any more, anywhere. */
export const RETIRED_MS = goneAfter(MAX_ISSUED_AHEAD_SECONDS + MAX_TOKEN_LIFETIME_SECONDS) * 1000;

export interface RotationPolicy {
  /** Age at which the active key is replaced. */
  readonly rotationMs: number;
  /** How long a key is published before it signs. */
  readonly publishAheadMs: number;
}

/** One step in the life of a key. */
export type KeyAct =
  /** A new key is published, to sign later. */
  | { readonly kind: 'publish'; readonly algorithm: SigningAlgorithm; readonly isWanted: boolean }
  /** A new key signs at once, before verifiers can have it. */
  | { readonly kind: 'replace'; readonly algorithm: SigningAlgorithm }
  /** The next key is to sign as soon as verifiers have it. */
  | { readonly kind: 'schedule'; readonly kid: string }
  /** The next key signs from now on, and the one before never again. */
  | { readonly kind: 'activate'; readonly kid: string }
  /** The next key counts as published now: it was published by a clock that has been set back. */
  | { readonly kind: 'wait_again'; readonly kid: string }
  /** A key leaves the set. */
  | { readonly kind: 'remove'; readonly kid: string };

type Keys = readonly StoredSigningKey[];

/**
 * What is due now. One rotation at most, however many a process that was down has missed; there is always a next key,
 * so that a rotation in a hurry finds one that verifiers have.
 */
export function dueActs(keys: Keys, nowMs: number, policy: RotationPolicy): readonly KeyAct[] {
  const { active, next, retired } = byState(keys);
  const acts: KeyAct[] = retired
    .filter(({ publishedUntilMs }) => nowMs >= (publishedUntilMs as number))
    .map(({ kid }) => ({ kind: 'remove', kid }));
  if (active === undefined) return acts;
  if (next === undefined) {
    acts.push({ kind: 'publish', algorithm: active.algorithm, isWanted: false });
  } else if (next.publishedAtMs > nowMs) {
    acts.push({ kind: 'wait_again', kid: next.kid });
  } else if (
    isRotationDue(active, next, nowMs, policy) &&
    isSeen(next, nowMs, policy) &&
    keys.length - acts.length < MAX_PUBLISHED_KEYS
  ) {
    acts.push(...rotation(next));
  }
  return acts;
}

/** When the next key is going to sign, as things are now; unset when there is none. */
export function plannedActivationMs(keys: Keys, policy: RotationPolicy): number | undefined {
  const { active, next } = byState(keys);
  if (active === undefined || next === undefined) return undefined;
  const seenAtMs = next.publishedAtMs + policy.publishAheadMs;
  return next.isWanted ? seenAtMs : Math.max(seenAtMs, (active.activatedAtMs as number) + policy.rotationMs);
}

/**
 * What a start with this algorithm makes due. Two processes with different ones do not fight over it: the one that
 * starts last decides, once.
 */
export function startActs(keys: Keys, algorithm: SigningAlgorithm): readonly KeyAct[] {
  const { active, next } = byState(keys);
  if (active === undefined) {
    // Nobody can have cached anything of an issuer that has signed nothing; a restore may leave none that signs, too.
    return [
      ...dropped(next),
      { kind: 'replace', algorithm },
      { kind: 'publish', algorithm, isWanted: false },
    ];
  }
  const isWanted = active.algorithm !== algorithm;
  if (next?.algorithm !== algorithm) {
    if (next === undefined && !isWanted) return [];
    return [...dropped(next), { kind: 'publish', algorithm, isWanted }];
  }
  return isWanted && !next.isWanted ? [{ kind: 'schedule', kid: next.kid }] : [];
}

/** A rotation that was asked for: now, or as soon as verifiers have the next key. */
export function rotateActs(
  keys: Keys,
  nowMs: number,
  { isImmediate, policy }: { readonly isImmediate: boolean; readonly policy: RotationPolicy },
): readonly KeyAct[] {
  const { active, next } = byState(keys);
  if (active === undefined) return [];
  if (next === undefined) return [{ kind: 'publish', algorithm: active.algorithm, isWanted: true }];
  if (isImmediate || isSeen(next, nowMs, policy)) return rotation(next);
  return next.isWanted ? [] : [{ kind: 'schedule', kid: next.kid }];
}

/** That this key, which is one of them, signs nothing from now on. */
export function retireActs(keys: Keys, key: StoredSigningKey): readonly KeyAct[] {
  const { active, next } = byState(keys);
  const { kid, algorithm, isWanted } = key;
  if (key === next) {
    return [
      { kind: 'remove', kid },
      { kind: 'publish', algorithm, isWanted },
    ];
  }
  if (key !== active) return [];
  if (next !== undefined) return rotation(next);
  return [
    { kind: 'replace', algorithm },
    { kind: 'publish', algorithm, isWanted: false },
  ];
}

/**
 * That somebody else has this key, which is one of them. Its place is taken by one made now. The next key goes with
 * the active one: the two lay in the same place.
 */
export function compromiseActs(keys: Keys, key: StoredSigningKey): readonly KeyAct[] {
  const { active, next } = byState(keys);
  const { kid, algorithm, isWanted } = key;
  if (key === active) {
    return [
      { kind: 'remove', kid },
      ...dropped(next),
      { kind: 'replace', algorithm },
      { kind: 'publish', algorithm: next?.algorithm ?? algorithm, isWanted: next?.isWanted ?? false },
    ];
  }
  const successor: KeyAct[] = key === next ? [{ kind: 'publish', algorithm, isWanted }] : [];
  return [{ kind: 'remove', kid }, ...successor];
}

export function byState(keys: Keys) {
  return {
    active: keys.find(({ state }) => state === 'active'),
    next: keys.find(({ state }) => state === 'next'),
    retired: keys.filter(({ state }) => state === 'retired'),
  };
}

const rotation = ({ kid, algorithm }: StoredSigningKey): readonly KeyAct[] => [
  { kind: 'activate', kid },
  { kind: 'publish', algorithm, isWanted: false },
];

const dropped = (key: StoredSigningKey | undefined): readonly KeyAct[] =>
  key === undefined ? [] : [{ kind: 'remove', kid: key.kid }];

// After a clock that was set back by years the active key lies in the future, and is not to stay for as long.
function isRotationDue(
  { activatedAtMs = 0 }: StoredSigningKey,
  { isWanted }: StoredSigningKey,
  nowMs: number,
  { rotationMs }: RotationPolicy,
): boolean {
  return isWanted || Math.abs(nowMs - activatedAtMs) >= rotationMs;
}

function isSeen({ publishedAtMs }: StoredSigningKey, nowMs: number, policy: RotationPolicy): boolean {
  return publishedAtMs <= nowMs && nowMs - publishedAtMs >= policy.publishAheadMs;
}

/** A key pair that was made for an act, the private half encrypted. */
export type NewKey = Pick<StoredSigningKey, 'kid' | 'algorithm' | 'publicJwk' | 'encryptedPrivateJwk'>;

export interface KeysAfter {
  readonly put: readonly StoredSigningKey[];
  readonly removed: readonly string[];
}

/** What the acts make of the keys; `keyFor` gives the new key of an act that needs one. */
export function afterActs(
  keys: Keys,
  acts: readonly KeyAct[],
  nowMs: number,
  keyFor: (act: KeyAct) => NewKey,
): KeysAfter {
  const after = new Map(keys.map((key) => [key.kid, key]));
  const put = (key: StoredSigningKey) => after.set(key.kid, key);
  const retireActive = () => {
    for (const key of after.values()) if (key.state === 'active') put(retired(key, nowMs));
  };
  for (const act of acts) {
    switch (act.kind) {
      case 'publish':
        put({ ...published(keyFor(act), nowMs), isWanted: act.isWanted });
        break;
      case 'replace':
        retireActive();
        put(activated(published(keyFor(act), nowMs), nowMs));
        break;
      case 'activate':
        retireActive();
        put(activated(after.get(act.kid) as StoredSigningKey, nowMs));
        break;
      case 'schedule':
        put({ ...(after.get(act.kid) as StoredSigningKey), isWanted: true });
        break;
      case 'wait_again':
        put({ ...(after.get(act.kid) as StoredSigningKey), publishedAtMs: nowMs });
        break;
      case 'remove':
        after.delete(act.kid);
        break;
    }
  }
  const before = new Map(keys.map((key) => [key.kid, key]));
  return {
    put: Array.from(after.values()).filter((key) => before.get(key.kid) !== key),
    removed: Array.from(before.keys()).filter((kid) => !after.has(kid)),
  };
}

function published(key: NewKey, nowMs: number): StoredSigningKey {
  return {
    ...key,
    state: 'next',
    createdAtMs: nowMs,
    publishedAtMs: nowMs,
    isWanted: false,
    activatedAtMs: undefined,
    retiredAtMs: undefined,
    publishedUntilMs: undefined,
  };
}

function activated(key: StoredSigningKey, nowMs: number): StoredSigningKey {
  return { ...key, state: 'active', isWanted: false, activatedAtMs: nowMs };
}

function retired(key: StoredSigningKey, nowMs: number): StoredSigningKey {
  return {
    ...key,
    state: 'retired',
    // Destroyed: what cannot sign any more cannot be stolen.
    encryptedPrivateJwk: undefined,
    retiredAtMs: nowMs,
    publishedUntilMs: nowMs + RETIRED_MS,
  };
}
