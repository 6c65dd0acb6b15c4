import { overlaps } from '@fleetgate/shared';

/** Filters with what they are of, found by those they overlap without a look at each. */
export interface FilterIndex<Owner> {
  add(filter: string, owner: Owner): void;
  /** The owners of each filter that some topic is matched by together with `filter`. */
  meeting(filter: string): Iterable<Owner>;
}

interface Branch<Owner> {
  readonly below: Map<string, Branch<Owner>>;
  readonly owners: { readonly filter: string; readonly owner: Owner }[];
}

const branch = <Owner>(): Branch<Owner> => ({ below: new Map(), owners: [] });

/** A branch for each level. */
export function filterIndex<Owner>(): FilterIndex<Owner> {
  const root = branch<Owner>();
  return {
    add(filter, owner) {
      let at = root;
      for (const level of filter.split('/')) {
        const next = at.below.get(level) ?? branch<Owner>();
        at.below.set(level, next);
        at = next;
      }
      at.owners.push({ filter, owner });
    },
    *meeting(filter) {
      for (const { filter: other, owner } of reach(root, filter.split('/'), 0)) {
        if (overlaps(filter, other)) yield owner;
      }
    },
  };
}

/** What may meet: what begins with `$` and the end of a filter are for `overlaps` to see. */
function* reach<Owner>(
  at: Branch<Owner>,
  levels: readonly string[],
  depth: number,
): Generator<Branch<Owner>['owners'][number]> {
  const level = levels[depth];
  if (level === undefined) {
    yield* at.owners;
    yield* at.below.get('#')?.owners ?? [];
    return;
  }
  if (level === '#') {
    yield* everyOwner(at);
    return;
  }
  yield* at.below.get('#')?.owners ?? [];
  const next = level === '+' ? Array.from(at.below.values()) : [at.below.get(level), at.below.get('+')];
  for (const one of next)
    if (one !== undefined && one !== at.below.get('#')) yield* reach(one, levels, depth + 1);
}

function* everyOwner<Owner>(at: Branch<Owner>): Generator<Branch<Owner>['owners'][number]> {
  yield* at.owners;
  for (const one of at.below.values()) yield* everyOwner(one);
}
