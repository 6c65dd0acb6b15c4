import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  afterActs,
  compromiseActs,
  dueActs,
  type KeyAct,
  MAX_PUBLISHED_KEYS,
  plannedActivationMs,
  RETIRED_MS,
  retireActs,
  rotateActs,
  startActs,
} from '../../../issuer/keys/lifecycle.ts';
import type { SigningKeyState, StoredSigningKey } from '../../../issuer/registry/signing-key-registry.ts';

const DAY = 86_400_000;
const MINUTE = 60_000;
const policy = { rotationMs: 30 * DAY, publishAheadMs: 15 * MINUTE };
const NOW = 1_800_000_000_000;

function key(kid: string, state: SigningKeyState, more: Partial<StoredSigningKey> = {}): StoredSigningKey {
  const isRetired = state === 'retired';
  return {
    kid,
    algorithm: 'ES256',
    publicJwk: {},
    encryptedPrivateJwk: isRetired ? undefined : Buffer.from('private'),
    state,
    createdAtMs: NOW - DAY,
    publishedAtMs: NOW - DAY,
    isWanted: false,
    activatedAtMs: state === 'next' ? undefined : NOW - DAY,
    retiredAtMs: isRetired ? NOW - 1 : undefined,
    publishedUntilMs: isRetired ? NOW + DAY : undefined,
    ...more,
  };
}

const active = (activatedAtMs = NOW - DAY) => key('a', 'active', { activatedAtMs });
const next = (publishedAtMs = NOW - DAY, isWanted = false) => key('n', 'next', { publishedAtMs, isWanted });
const retired = (kid: string, publishedUntilMs: number) => key(kid, 'retired', { publishedUntilMs });

const publish = { kind: 'publish', algorithm: 'ES256', isWanted: false } as const;
const rotation: readonly KeyAct[] = [{ kind: 'activate', kid: 'n' }, publish];

describe('what is due', () => {
  test.each<[string, readonly StoredSigningKey[], readonly KeyAct[]]>([
    ['nothing without a key: a start makes the first', [], []],
    ['a next key where there is none', [active()], [publish]],
    ['nothing while the active key is young', [active(), next()], []],
    ['nothing a millisecond before its age', [active(NOW - 30 * DAY + 1), next()], []],
    ['a rotation at its age', [active(NOW - 30 * DAY), next()], rotation],
    ['one rotation after several were missed', [active(NOW - 200 * DAY), next(NOW - 200 * DAY)], rotation],
    [
      'no rotation before verifiers have the next key',
      [active(NOW - 200 * DAY), next(NOW - 15 * MINUTE + 1)],
      [],
    ],
    ['a rotation when they have it', [active(NOW - 200 * DAY), next(NOW - 15 * MINUTE)], rotation],
    ['a next key first, where a long sleep began without one', [active(NOW - 200 * DAY)], [publish]],
    [
      'a rotation that was asked for, when verifiers have the next key',
      [active(), next(NOW - 15 * MINUTE, true)],
      rotation,
    ],
    ['and not before', [active(), next(NOW - 15 * MINUTE + 1, true)], []],
    [
      'waiting again for a next key of the future: the clock was set back',
      [active(), next(NOW + 1)],
      [{ kind: 'wait_again', kid: 'n' }],
    ],
    ['nothing for an active key of the near future', [active(NOW + DAY), next()], []],
    [
      'a rotation for one of the far future: it would stay for years',
      [active(NOW + 300 * DAY), next()],
      rotation,
    ],
    ['nothing for a retired key whose tokens may live', [active(), next(), retired('r', NOW + 1)], []],
    ['its end when they have expired', [active(), next(), retired('r', NOW)], [{ kind: 'remove', kid: 'r' }]],
    [
      'all of it at once',
      [active(NOW - 40 * DAY), next(), retired('r', NOW - 1), retired('s', NOW + 1)],
      [{ kind: 'remove', kid: 'r' }, ...rotation],
    ],
  ])('is %s', (_name, keys, acts) => {
    expect(dueActs(keys, NOW, policy)).toEqual(acts);
  });

  test('is no rotation that would publish more keys than verifiers take', () => {
    const keys = [active(NOW - 40 * DAY), next()];
    while (keys.length < MAX_PUBLISHED_KEYS) keys.push(retired(`r${keys.length}`, NOW + 1));
    expect(dueActs(keys, NOW, policy)).toEqual([]);
    expect(dueActs(keys.slice(1), NOW, policy)).toEqual([]);
    const [first] = keys.splice(2, 1, retired('gone', NOW));
    expect(first?.kid).toBe('r2');
    expect(dueActs(keys, NOW, policy)).toEqual([{ kind: 'remove', kid: 'gone' }, ...rotation]);
  });
});

describe('a start', () => {
  const other = { algorithm: 'EdDSA' } as const;
  test.each<[string, readonly StoredSigningKey[], readonly KeyAct[]]>([
    [
      'without keys makes one that signs at once, and the next',
      [],
      [{ kind: 'replace', algorithm: 'ES256' }, publish],
    ],
    [
      'without a key that signs makes both anew',
      [next(), retired('r', NOW + 1)],
      [{ kind: 'remove', kid: 'n' }, { kind: 'replace', algorithm: 'ES256' }, publish],
    ],
    ['with the same algorithm changes nothing', [active(), next()], []],
    ['with the same algorithm and no next key leaves that to what is due', [active()], []],
    ['leaves a rotation that was asked for', [active(), next(NOW, true)], []],
    [
      'with another algorithm publishes a key for it, which is wanted',
      [
        { ...active(), ...other },
        { ...next(), ...other },
      ],
      [
        { kind: 'remove', kid: 'n' },
        { ...publish, isWanted: true },
      ],
    ],
    ['also without a next key', [{ ...active(), ...other }], [{ ...publish, isWanted: true }]],
    ['and wants one that is there', [{ ...active(), ...other }, next()], [{ kind: 'schedule', kid: 'n' }]],
    ['once', [{ ...active(), ...other }, next(NOW, true)], []],
    [
      'takes back what a start with another algorithm wanted',
      [active(), { ...next(NOW, true), ...other }],
      [{ kind: 'remove', kid: 'n' }, publish],
    ],
  ])('%s', (_name, keys, acts) => {
    expect(startActs(keys, 'ES256')).toEqual(acts);
  });
});

describe('a rotation that is asked for', () => {
  const soon = { isImmediate: false, policy };
  const now = { isImmediate: true, policy };
  test.each<[string, readonly StoredSigningKey[], typeof soon, readonly KeyAct[]]>([
    ['is done where verifiers have the next key', [active(), next(NOW - 15 * MINUTE)], soon, rotation],
    ['waits where they have not', [active(), next(NOW)], soon, [{ kind: 'schedule', kid: 'n' }]],
    ['waits once', [active(), next(NOW, true)], soon, []],
    ['waits for a next key that is not there', [active()], soon, [{ ...publish, isWanted: true }]],
    ['now does not wait', [active(), next(NOW)], now, rotation],
  ])('%s', (_name, keys, options, acts) => {
    expect(rotateActs(keys, NOW, options)).toEqual(acts);
  });
});

const replaced: readonly KeyAct[] = [{ kind: 'replace', algorithm: 'ES256' }, publish];

test.each<[string, StoredSigningKey, readonly KeyAct[]]>([
  ['the active key is a rotation', active(), rotation],
  ['the next key publishes another', next(), [{ kind: 'remove', kid: 'n' }, publish]],
  ['a retired key is nothing', retired('r', NOW + 1), []],
])('to retire %s', (_name, one, acts) => {
  const keys = [active(), next(), retired('r', NOW + 1)];
  const same = keys.find(({ kid }) => kid === one.kid) as StoredSigningKey;
  expect(retireActs(keys, same)).toEqual(acts);
});

test('to retire the active key where there is no next one makes a new one', () => {
  const keys = [active()];
  expect(retireActs(keys, keys[0] as StoredSigningKey)).toEqual(replaced);
});

test.each<[string, string, readonly KeyAct[]]>([
  [
    'the active key takes the next one with it',
    'a',
    [{ kind: 'remove', kid: 'a' }, { kind: 'remove', kid: 'n' }, ...replaced],
  ],
  ['the next key publishes another', 'n', [{ kind: 'remove', kid: 'n' }, publish]],
  ['a retired key is its end', 'r', [{ kind: 'remove', kid: 'r' }]],
])('a compromise of %s', (_name, kid, acts) => {
  const keys = [active(), next(), retired('r', NOW + 1)];
  const one = keys.find((each) => each.kid === kid) as StoredSigningKey;
  expect(compromiseActs(keys, one)).toEqual(acts);
});

test.each<[string, readonly StoredSigningKey[], number | undefined]>([
  ['when the active key is old enough', [active(), next()], NOW + 29 * DAY],
  ['when verifiers have it, if that is later', [active(NOW - 30 * DAY), next(NOW)], NOW + 15 * MINUTE],
  ['when verifiers have it, if it is wanted', [active(), next(NOW, true)], NOW + 15 * MINUTE],
  ['never, where there is none', [active()], undefined],
])('the next key is planned to sign %s', (_name, keys, planned) => {
  expect(plannedActivationMs(keys, policy)).toBe(planned);
});

const newKey = (kid: string) => ({
  kid,
  algorithm: 'ES256' as const,
  publicJwk: {},
  encryptedPrivateJwk: Buffer.from('private'),
});

describe('after a rotation', () => {
  const { put, removed } = afterActs([active(), next()], rotation, NOW, () => newKey('new'));
  const find = (kid: string) => put.find((one) => one.kid === kid);

  test('the key before is published until the last token it can have signed is accepted nowhere', () => {
    expect(find('a')).toMatchObject({
      state: 'retired',
      retiredAtMs: NOW,
      publishedUntilMs: NOW + RETIRED_MS,
    });
    expect(RETIRED_MS).toBe((86_400 + 60 + 300) * 1000);
    expect(removed).toEqual([]);
  });

  test('its private half is gone', () => {
    expect(find('a')?.encryptedPrivateJwk).toBeUndefined();
  });

  test('the next key signs, and there is another next one', () => {
    expect(find('n')).toMatchObject({ state: 'active', activatedAtMs: NOW, isWanted: false });
    expect(find('new')).toMatchObject({ state: 'next', publishedAtMs: NOW });
  });
});

test('keys that do not change are not put', () => {
  const acts: KeyAct[] = [{ kind: 'wait_again', kid: 'n' }];
  const after = afterActs([active(), next(NOW + DAY)], acts, NOW, () => newKey('new'));
  expect(after.put).toEqual([next(NOW)]);
});

/** All that can happen to the keys of an issuer, on a clock that runs, leaps and is set back. */
type Happening = 'due' | 'rotate' | 'rotate_now' | 'retire' | 'compromise' | 'start' | 'start_other';

test('whatever happens there is one active and one next key, nothing signs before it is seen, and nothing leaves early', () => {
  const happening = fc.record({
    what: fc.constantFrom<Happening>(
      'due',
      'due',
      'due',
      'rotate',
      'rotate_now',
      'retire',
      'compromise',
      'start',
      'start_other',
    ),
    afterMs: fc.oneof(fc.integer({ min: 0, max: 20 * MINUTE }), fc.integer({ min: -2 * DAY, max: 40 * DAY })),
    index: fc.nat(40),
  });
  fc.assert(
    fc.property(fc.array(happening, { maxLength: 60 }), (happenings) => {
      let keys: readonly StoredSigningKey[] = [];
      let nowMs = NOW;
      let made = 0;
      const apply = (acts: readonly KeyAct[]) => {
        const { put, removed } = afterActs(keys, acts, nowMs, (act) => {
          made += 1;
          return { ...newKey(`k${made}`), ...('algorithm' in act ? { algorithm: act.algorithm } : {}) };
        });
        const changed = new Set(put.map(({ kid }) => kid).concat(removed));
        keys = keys.filter(({ kid }) => !changed.has(kid)).concat(put);
      };
      apply(startActs(keys, 'ES256'));
      for (const { what, afterMs, index } of happenings) {
        nowMs += afterMs;
        const before = keys;
        const one = keys[index % keys.length] as StoredSigningKey;
        const acts = {
          due: () => dueActs(keys, nowMs, policy),
          rotate: () => rotateActs(keys, nowMs, { isImmediate: false, policy }),
          rotate_now: () => rotateActs(keys, nowMs, { isImmediate: true, policy }),
          retire: () => retireActs(keys, one),
          compromise: () => compromiseActs(keys, one),
          start: () => startActs(keys, 'ES256'),
          start_other: () => startActs(keys, 'EdDSA'),
        }[what]();
        apply(acts);
        for (const state of ['active', 'next']) {
          expect(keys.filter((each) => each.state === state)).toHaveLength(1);
        }
        for (const each of keys)
          expect(each.encryptedPrivateJwk === undefined).toBe(each.state === 'retired');
        if (what === 'due' || what === 'rotate') {
          const signing = keys.find(({ state }) => state === 'active');
          const was = before.find(({ kid }) => kid === signing?.kid);
          expect(was).toBeDefined();
          if (was?.state === 'next')
            expect(nowMs - was.publishedAtMs).toBeGreaterThanOrEqual(policy.publishAheadMs);
        }
        if (what !== 'compromise') {
          const left = before.filter(({ kid }) => !keys.some((each) => each.kid === kid));
          for (const each of left) {
            if (each.state === 'retired') expect(each.publishedUntilMs).toBeLessThanOrEqual(nowMs);
            else expect(each.state).toBe('next');
          }
        }
      }
    }),
  );
});
