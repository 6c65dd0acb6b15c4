import type { JsonWebKeySet } from '@fleetgate/shared';
import { TokenError } from '@fleetgate/shared';
import { type KeySet, loadKeySet, type SkippedKey, type VerificationKey } from './key-set.ts';

/** What a token says of the key it was signed with. Nothing else of a token is ever looked at to find one. */
export interface KeyName {
  readonly kid: string;
  readonly alg: string;
}

/**
 * Finds the public key of an issuer a token names, as the issuer has it now: who kept a key asks again before it is
 * used again.
 * @throws TokenError `token_key_unknown`, `keys_unavailable`
 */
export type FindKey = (name: KeyName) => Promise<VerificationKey>;

/** Where it is told what is wrong with keys. A pino logger will do. */
export type KeyLog = Readonly<Record<'debug' | 'info' | 'warn', (line: object, words: string) => void>>;

/**
 * Keys of an issuer in this process. A key that is no longer in the set is no longer found. One that changes is to be
 * another object.
 */
export function localKeys(jwks: () => JsonWebKeySet, reportSkipped: ReportSkipped): FindKey {
  let loaded: { readonly members: readonly object[]; readonly keys: KeySet } | undefined;

  function keysNow(): KeySet {
    const set = jwks();
    // Asked at each CONNECT. By the objects and not by kid: a kid that comes back with another key is another set.
    if (loaded === undefined || !hasSameMembers(loaded.members, set.keys)) {
      const { keys, skipped } = loadKeySet(set);
      reportSkipped(skipped);
      loaded = { members: [...set.keys], keys };
    }
    return loaded.keys;
  }

  return async (name) => {
    let keys: KeySet;
    try {
      keys = keysNow();
    } catch (error) {
      throw new TokenError('keys_unavailable', 'the keys of the issuer cannot be had', { cause: error });
    }
    return pick(keys, name) ?? unknownKey();
  };
}

function hasSameMembers(some: readonly object[], others: readonly object[]): boolean {
  if (some.length !== others.length) return false;
  for (let index = 0; index < some.length; index += 1) if (some[index] !== others[index]) return false;
  return true;
}

/**
 * Keys that are given once.
 * @throws TypeError when the set holds none that can be used
 */
export function staticKeys(set: JsonWebKeySet, reportSkipped: ReportSkipped): FindKey {
  const { keys, skipped } = loadKeySet(set);
  if (keys.size === 0) {
    const problems = skipped.map(({ kid = 'a key without kid', problem }) => `${kid}: ${problem}`);
    throw new TypeError(`no key of the key set can be used (${problems.join('; ') || 'it is empty'})`);
  }
  reportSkipped(skipped);
  return async (name) => pick(keys, name) ?? unknownKey();
}

/** The key of this name, when it is for the algorithm the token claims. */
export function pick(keys: KeySet, { kid, alg }: KeyName): VerificationKey | undefined {
  const key = keys.get(kid);
  return key?.alg === alg ? key : undefined;
}

/** @throws TokenError `token_key_unknown` */
export function unknownKey(): never {
  throw new TokenError('token_key_unknown', 'no key of the issuer has this kid and alg');
}

export type ReportSkipped = (skipped: readonly SkippedKey[]) => void;

/** Names remembered as told; a set that always has new bad keys is told of no more than this many. */
const MAX_TOLD = 1_024;

/** Logs the keys an issuer's set should not have, each once; those for another purpose at `debug`. */
export function skippedKeyReport(issuer: string, log: KeyLog): ReportSkipped {
  const told = new Set<string>();
  return (skipped) => {
    for (const { kid, problem, isForeign } of skipped) {
      const name = JSON.stringify([kid, problem]);
      if (told.has(name) || told.size >= MAX_TOLD) continue;
      told.add(name);
      const line = { event: 'key_skipped', issuer, kid, problem };
      if (isForeign) log.debug(line, 'a key of the issuer is for another purpose');
      else log.warn(line, 'a key of the issuer is not used');
    }
  };
}
