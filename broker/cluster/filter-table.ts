/** Who subscribed to what: the filters of sessions that are kept, found by topic. */
export interface FilterTable {
  add(filter: string, id: string): void;
  remove(filter: string, id: string): void;
  /** All filters of one. */
  forget(id: string): void;
  /** Each once, in no order. Topics of `$` match no filter that begins with a wildcard [MQTT-4.7.2-1]. */
  match(topic: string): Set<string>;
  clear(): void;
}

interface Branch {
  below: Map<string, Branch> | undefined;
  ids: Set<string> | undefined;
}

/** A branch for each level. */
export function createFilterTable(): FilterTable {
  let root: Branch = branch();
  const filtersOf = new Map<string, Set<string>>();

  function remove(filter: string, id: string): void {
    const own = filtersOf.get(id);
    if (own?.delete(filter) !== true) return;
    if (own.size === 0) filtersOf.delete(id);
    prune(root, filter.split('/'), 0, id);
  }

  return {
    add(filter, id) {
      const own = filtersOf.get(id) ?? new Set();
      if (own.has(filter)) return;
      own.add(filter);
      filtersOf.set(id, own);
      let at = root;
      for (const level of filter.split('/')) {
        at.below ??= new Map();
        let next = at.below.get(level);
        if (next === undefined) {
          next = branch();
          at.below.set(level, next);
        }
        at = next;
      }
      at.ids ??= new Set();
      at.ids.add(id);
    },
    remove,
    forget(id) {
      for (const filter of filtersOf.get(id) ?? []) remove(filter, id);
    },
    match(topic) {
      const found = new Set<string>();
      if (root.below !== undefined) collect(root, topic.split('/'), 0, topic.startsWith('$'), found);
      return found;
    },
    clear() {
      root = branch();
      filtersOf.clear();
    },
  };
}

const branch = (): Branch => ({ below: undefined, ids: undefined });

function collect(
  { below, ids }: Branch,
  levels: readonly string[],
  depth: number,
  isPlain: boolean,
  found: Set<string>,
): void {
  const level = levels[depth];
  const isWild = depth > 0 || !isPlain;
  // `a/#` is of `a` too (MQTT 3.1.1 §4.7.1.2).
  if (isWild) for (const id of below?.get('#')?.ids ?? []) found.add(id);
  if (level === undefined) {
    for (const id of ids ?? []) found.add(id);
    return;
  }
  const exact = below?.get(level);
  if (exact !== undefined) collect(exact, levels, depth + 1, isPlain, found);
  const any = isWild ? below?.get('+') : undefined;
  if (any !== undefined) collect(any, levels, depth + 1, isPlain, found);
}

/** Takes `id` away, and branches that are empty then. True when this one is. */
function prune(at: Branch, levels: readonly string[], depth: number, id: string): boolean {
  const level = levels[depth];
  if (level === undefined) {
    at.ids?.delete(id);
    if (at.ids?.size === 0) at.ids = undefined;
  } else {
    const next = at.below?.get(level);
    if (next !== undefined && prune(next, levels, depth + 1, id)) at.below?.delete(level);
    if (at.below?.size === 0) at.below = undefined;
  }
  return at.ids === undefined && at.below === undefined;
}
