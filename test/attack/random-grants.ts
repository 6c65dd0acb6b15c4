import { directScopeToken } from '@fleetgate/shared';
import type { ModelPolicy, ModelRule, ModelToken } from '../broker/authorization/model.ts';
import { allFilters } from '../shared/topic-model.ts';

/** Numbers that a seed gives again. */
export interface Random {
  int(below: number): number;
  chance(of: number): boolean;
  pick<Item>(list: readonly Item[]): Item;
  bytes(count: number): Buffer;
}

/** Mulberry32: 32 bits of state are enough to draw packets by. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (below: number) => Math.floor(next() * below);
  return {
    int,
    chance: (of) => next() < of,
    pick: (list) => list[int(list.length)] as (typeof list)[number],
    bytes: (count) => Buffer.from(Array.from({ length: count }, () => int(256))),
  };
}

const scopeNames = ['s1', 's2', 's3'];
const plainFilters = ['#', 'a/#', 'b/#', '+/a', 'a/+', '+/+', 'a/b'];

/** A policy of three scopes with every option, and denies that the scope `exempt` lifts. */
export function randomPolicy(random: Random): ModelPolicy {
  const written = () => {
    if (random.chance(0.4)) return random.pick(plainFilters);
    const levels = ['a', 'b', '+', '', '{client_id}', '{group}', '{claim:site}'];
    const chosen = Array.from({ length: 1 + random.int(2) }, () => random.pick(levels));
    if (random.chance(0.5)) chosen.push('#');
    return chosen.join('/') || '+';
  };
  const listOf = <Item>(max: number, make: () => Item) => Array.from({ length: random.int(max + 1) }, make);
  const publishRule = (): ModelRule => ({
    topic: written(),
    ...(random.chance(0.3) ? { max_qos: random.pick([0, 1]) } : {}),
    ...(random.chance(0.3) ? { retain: false } : {}),
    ...(random.chance(0.3) ? { max_payload_bytes: random.pick([0, 20]) } : {}),
  });
  const subscribeRule = (): ModelRule => ({
    topic: written(),
    ...(random.chance(0.3) ? { max_qos: random.pick([0, 1]) } : {}),
    ...(random.chance(0.7) ? { broader: random.pick(['refuse', 'filter', 'filter', 'exact'] as const) } : {}),
  });
  return {
    version: 1,
    scopes: Object.fromEntries(
      scopeNames.map((name) => [
        name,
        { publish: listOf(3, publishRule), subscribe: listOf(3, subscribeRule) },
      ]),
    ),
    deny: listOf(2, () => ({
      publish: [written()].filter(() => random.chance(0.6)),
      subscribe: [written()],
      unless: ['exempt', ...(random.chance(0.4) ? [random.pick(scopeNames)] : [])],
    })),
  };
}

/** What a token of `clientId` says: some scopes, named, direct and unknown, and values for placeholders. */
export function randomToken(random: Random, clientId: string): ModelToken {
  const scope = () => {
    if (random.chance(0.6)) return random.pick(scopeNames);
    if (random.chance(0.1)) return 'unknown';
    const filter = random.chance(0.5) ? random.pick(plainFilters) : random.pick(allFilters);
    return directScopeToken(random.pick(['publish', 'subscribe'] as const), filter);
  };
  const site = random.pick(['a', 'b', '+', 'a/b', undefined]);
  const group = random.pick(['a', 'b', undefined]);
  return {
    clientId,
    scopes: [...new Set(Array.from({ length: 1 + random.int(5) }, scope))],
    claims: site === undefined ? {} : { site },
    ...(group === undefined ? {} : { group }),
  };
}
